"""Files that are either whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what becomes ``path`` once all of it is written.

    If writing fails, ``path`` stays what it was.

    Args:
        path: of the file; its folder is made if it does not exist.

    Yields:
        the same name in a folder of its own beside ``path``: names tell writers the format.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "made" / "a.txt"
        >>> with replacing(file) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> file.read_text(), [path.name for path in file.parent.iterdir()]
        ('whole', ['a.txt'])
    """
    target = path.resolve()  # a link stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=target.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        temporary.replace(target)
