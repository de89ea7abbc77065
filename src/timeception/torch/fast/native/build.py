"""Building and loading of the C++ kernels, on demand, with the machine's own compiler.

A compilation takes a few seconds and is kept in the user's cache, under a name that tells sources,
compiler and processor apart. Nothing here runs unless it is asked for.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import shutil
import subprocess
from pathlib import Path

from timeception.files import replacing, sha256_of

logger = logging.getLogger(__name__)

SOURCES = ("evaluate.cpp", "train.cpp")
HEADERS = ("common.hpp",)
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")
_ENTRIES = (
    "timeception_ring",
    "timeception_vector",
    "timeception_evaluate",
    "timeception_evaluate_bfloat16",
    "timeception_mix",
    "timeception_mix_backward",
)


class NativeUnavailableError(RuntimeError):
    """The kernels cannot be built or loaded on this machine; the message says why."""


@functools.cache
def load() -> ctypes.CDLL:
    """The kernels, compiled if they are not in the cache yet.

    Raises:
        NativeUnavailableError: if there is no compiler, or it fails.
    """
    compiler = _compiler()
    folder = Path(__file__).parent
    path = cache_folder() / f"kernels-{_fingerprint(compiler, folder)}.so"
    if not path.exists():
        _compile(compiler, folder, path)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeUnavailableError(f"the kernels in {path} do not load: {error}") from error
    for entry in _ENTRIES:
        getattr(library, entry).restype = ctypes.c_int
    return library


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``TIMECEPTION_CACHE``, or the user's cache folder."""
    own = os.environ.get("TIMECEPTION_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "timeception"


def _compiler() -> str:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise NativeUnavailableError(
            f"no C++ compiler was found (looked for {', '.join(names)}); install one or set CXX"
        )
    return found


def _fingerprint(compiler: str, folder: Path) -> str:
    """A name for sources, flags, compiler and processor: its macros tell the last two."""
    macros = _run([compiler, *FLAGS[:3], "-dM", "-E", "-x", "c++", os.devnull])
    files = ((folder / name).read_bytes() for name in (*HEADERS, *SOURCES))
    return sha256_of([" ".join(FLAGS).encode(), macros.encode(), *files])[:16]


def _compile(compiler: str, folder: Path, path: Path) -> None:
    """Compile beside ``path``, then move into place, so that no one loads half a file."""
    logger.info("compiling the native kernels into %s", path)
    with replacing(path) as built:
        _run([compiler, *FLAGS, *(str(folder / name) for name in SOURCES), "-o", str(built)])


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NativeUnavailableError(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
    return result.stdout
