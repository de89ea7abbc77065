"""Building and loading of the C++ kernels, on demand, with the machine's own compiler.

The result is kept in the cache folder under a name that depends on sources, compiler and
processor. A failed build is remembered there too, so that no later process tries it again.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from timeception import checks
from timeception.files import replacing, sha256_of, write_text
from timeception.torch.fast.native.ctypes_structs import size_mismatches

logger = logging.getLogger(__name__)

SOURCES = ("evaluate.cpp", "train.cpp")
HEADERS = ("common.hpp",)
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")


class NativeUnavailableError(RuntimeError):
    """The kernels cannot be built or loaded on this machine; the message says why."""


class _CompilerError(NativeUnavailableError):
    """The compiler ran and reported a failure, which is remembered."""


def load() -> ctypes.CDLL:
    """Return the kernels; compile them if they are not in the cache.

    Raises:
        NativeUnavailableError: if the kernels are switched off, no compiler is found, or the build
            fails. A failure is remembered until the process ends.
    """
    library = _load_once()
    if isinstance(library, str):
        raise NativeUnavailableError(library)
    return library


def is_switched_off() -> bool:
    """Return whether ``TIMECEPTION_NATIVE=0`` is set."""
    value = os.environ.get("TIMECEPTION_NATIVE") or "1"
    return checks.one_of("TIMECEPTION_NATIVE", value, ("0", "1")) == "0"


def cache_folder() -> Path:
    """Return the folder of compiled kernels: ``TIMECEPTION_CACHE``, or the user's cache folder."""
    if given := os.environ.get("TIMECEPTION_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "timeception"


@functools.cache
def _load_once() -> ctypes.CDLL | str:
    """Return the kernels, or the reason why there are none."""
    try:
        return _load()
    except NativeUnavailableError as error:
        return str(error)
    except OSError as error:
        return f"the native kernels cannot be built or loaded in {cache_folder()}: {error}"


def _load() -> ctypes.CDLL:
    if is_switched_off():
        raise NativeUnavailableError(
            "the native kernels are switched off by TIMECEPTION_NATIVE=0; unset it, or choose the "
            "implementation 'torch'"
        )
    compiler = _compiler()
    failure = cache_folder() / f"failed-{_failure_key(compiler)}.txt"
    if failure.exists():
        raise NativeUnavailableError(
            f"an earlier build of the native kernels failed; delete {failure} to try again. "
            f"{failure.read_text(encoding='utf-8')}"
        )
    try:
        path = cache_folder() / f"kernels-{_fingerprint(compiler)}.so"
        if not path.exists():
            _compile(compiler, path)
    except _CompilerError as error:
        write_text(failure, str(error))
        raise NativeUnavailableError(f"{error}\nDelete {failure} to try again.") from error
    library = ctypes.CDLL(str(path))
    if mismatches := size_mismatches(library):
        raise NativeUnavailableError(
            f"{path} does not match this version of timeception: {'; '.join(mismatches)}. "
            "Delete the file to rebuild it."
        )
    return library


def _compiler() -> str:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise NativeUnavailableError(
            f"no C++ compiler was found (looked for {', '.join(names)}); install one or set CXX"
        )
    return found


def _fingerprint(compiler: str) -> str:
    """Hash sources, flags, and the compiler's macros, which depend on its version and processor."""
    return _hash_sources(_run([compiler, *FLAGS[:3], "-dM", "-E", "-x", "c++", os.devnull]))


def _failure_key(compiler: str) -> str:
    """Hash what a failure depends on, without running the compiler."""
    file = Path(compiler).resolve()
    return _hash_sources(f"{file} {file.stat().st_mtime_ns} {platform.node()}")


def _hash_sources(salt: str) -> str:
    files = ((Path(__file__).parent / name).read_bytes() for name in (*HEADERS, *SOURCES))
    return sha256_of([" ".join(FLAGS).encode(), salt.encode(), *files])[:16]


def _compile(compiler: str, path: Path) -> None:
    """Compile beside ``path``, then move into place, so that no process loads half a file."""
    line = (
        f"timeception: compiling C++ kernels for this processor, once, up to a minute; "
        f"the result is kept in {path.parent} (TIMECEPTION_NATIVE=0 switches them off)"
    )
    if logger.hasHandlers() and logger.isEnabledFor(logging.INFO):
        logger.info(line)
    else:
        sys.stderr.write(f"{line}\n")
    sources = [str(Path(__file__).parent / name) for name in SOURCES]
    with replacing(path) as built:
        _run([compiler, *FLAGS, *sources, "-o", str(built)])


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        is_killed = result.returncode < 0  # says nothing about the next attempt
        kind = NativeUnavailableError if is_killed else _CompilerError
        raise kind(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
    return result.stdout
