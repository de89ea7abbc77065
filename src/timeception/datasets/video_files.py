"""Video files in a folder, and their ids."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from timeception import checks

#: Suffixes of video files, in lower case.
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"}
    | {".ts", ".webm", ".wmv"}
)


def video_id_of(path: str | PurePosixPath) -> str:
    """Return the id of a video: its path below the data set's folder, without a video suffix.

    Other suffixes are kept, because ids may contain dots.

    Raises:
        ValueError: If the path is empty, absolute, or leaves the folder by ``..``.

    Example:
        >>> video_id_of("wave/a.mp4"), video_id_of("P03_cam01.v2"), video_id_of("./b.MOV")
        ('wave/a', 'P03_cam01.v2', 'b')
    """
    pure = PurePosixPath(str(path).replace("\\", "/"))
    is_below = bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts
    advice = "Make it relative to the folder of the videos."
    checks.require(is_below, "path", "be below the data set's folder", str(path), advice)
    return str(pure.with_suffix("") if pure.suffix.lower() in VIDEO_SUFFIXES else pure)


def find_videos(folder: str | Path) -> dict[str, Path]:
    """Find all video files below ``folder``, except hidden ones.

    Returns:
        The path of each video by its id, sorted by id.

    Raises:
        ValueError: If the folder does not exist, or two files have the same id (``a.mp4``,
            ``a.avi``).
    """
    folder = Path(folder)
    checks.require(folder.is_dir(), "folder", "be an existing folder", str(folder))
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in below.parts)
        if is_hidden or path.suffix.lower() not in VIDEO_SUFFIXES or not path.is_file():
            continue
        name = video_id_of(below.as_posix())
        twin = found.setdefault(name, path)
        if twin is not path:
            both = [twin.name, path.name]
            checks.require(False, "videos", "have one file per id", both, "Remove one of them.")
    return dict(sorted(found.items()))
