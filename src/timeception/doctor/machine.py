"""Checks of this machine: versions, GPU, compiler, codecs, disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from timeception.doctor.advice import Advice

CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg")
SLOW_MEGABYTES_PER_SECOND = 20.0
_PROBE_BYTES = 16 * 2**20

#: Versions that are known to be broken: package, versions, what is wrong, what to do.
BROKEN_VERSIONS = (
    (
        "torch",
        SpecifierSet("==2.9.*"),
        "3D convolutions in bfloat16 on NVIDIA GPUs take several times the memory "
        "(pytorch issue 166643)",
        "Install another release of torch, or cuDNN 9.15 or later.",
    ),
)


def check_machine() -> Iterator[Advice]:
    """Check versions, GPU, compiler, codecs and the disk of temporary files."""
    yield from check_versions(installed_versions())
    yield from check_gpu(*gpus())
    yield from check_compiler()
    yield from check_codecs(decoders())
    folder = Path(tempfile.gettempdir())
    yield from check_disk(folder, write_speed(folder))


def installed_versions() -> dict[str, str]:
    """Return the installed version of each package that this one requires."""
    needed = [Requirement(text) for text in requires("timeception") or ()]
    found = {}
    for requirement in needed:
        try:
            found[requirement.name] = version(requirement.name)
        except PackageNotFoundError:
            continue
    return found


def check_versions(installed: Mapping[str, str]) -> Iterator[Advice]:
    """Compare versions with the requirements, those of extras too, and with the broken ones.

    Args:
        installed: Version by name of package.
    """
    for text in requires("timeception") or ():
        needed = Requirement(text)
        has = installed.get(needed.name)
        if has is not None and not needed.specifier.contains(has, prereleases=True):
            what = f"version {has}; {needed.specifier} is required"
            cure = f"pip install '{needed.name}{needed.specifier}'"
            yield Advice("version", f"package {needed.name}", what, cure)
    for name, versions, what, cure in BROKEN_VERSIONS:
        has = installed.get(name)
        if has is not None and versions.contains(has.partition("+")[0], prereleases=True):
            yield Advice("broken-version", f"package {name}", f"version {has}: {what}", cure)


def gpus() -> tuple[bool, bool]:
    """Return whether this machine has an NVIDIA GPU, and whether PyTorch can use one."""
    import torch

    cards = Path("/proc/driver/nvidia/gpus")
    has_one = cards.is_dir() and any(cards.iterdir())
    return has_one, torch.cuda.is_available()


def check_gpu(is_present: bool, is_usable: bool) -> Iterator[Advice]:
    """Report a GPU that PyTorch cannot use."""
    if is_present and not is_usable:
        import torch

        build = torch.version.cuda
        what = "this machine has an NVIDIA GPU, but PyTorch does not use it: " + (
            f"its CUDA {build} does not work with the driver" if build else "it is a CPU build"
        )
        cure = "Install the CUDA build of torch that suits the driver (https://pytorch.org)."
        yield Advice("unused-gpu", "GPU", what, cure)


def check_compiler() -> Iterator[Advice]:
    """Report if the C++ kernels cannot be built, so that heads run several times slower."""
    from timeception.torch.fast.native.build import is_switched_off

    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    if not is_switched_off() and not any(map(shutil.which, names)):
        what = f"no C++ compiler ({', '.join(names)}): heads run without the fast CPU kernels"
        cure = "Install g++ or clang++, or set CXX; or set TIMECEPTION_NATIVE=0 if you use a GPU."
        yield Advice("no-compiler", "compiler", what, cure)


def decoders() -> frozenset[str]:
    """Names of the codecs that the installed FFmpeg knows."""
    import av

    return frozenset(av.codecs_available)


def check_codecs(available: frozenset[str]) -> Iterator[Advice]:
    """Report common video codecs that cannot be decoded."""
    missing = [name for name in CODECS if name not in available]
    if missing:
        what = f"FFmpeg cannot decode {', '.join(missing)}"
        cure = "pip install --force-reinstall --only-binary av av"
        yield Advice("no-codec", "codecs", what, cure)


def write_speed(folder: Path) -> float | None:
    """Measure the speed of writing to a folder, in MB/s; ``None`` if it cannot be written to."""
    block = os.urandom(_PROBE_BYTES)
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            began = time.perf_counter()
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            return _PROBE_BYTES / 1e6 / (time.perf_counter() - began)
    except OSError:
        return None


def check_disk(folder: Path, megabytes_per_second: float | None) -> Iterator[Advice]:
    """Report a disk that cannot be written to, is slow or full."""
    place = f"disk of {folder}"
    if megabytes_per_second is None:
        cure = "Free space, or choose a folder that you may write to."
        yield Advice("disk-unwritable", place, "a file of 16 MB cannot be written", cure)
    elif megabytes_per_second < SLOW_MEGABYTES_PER_SECOND:
        what = f"writes {megabytes_per_second:.1f} MB/s; training reads a bank in every epoch"
        yield Advice("slow-disk", place, what, "Keep banks on a local disk.")
