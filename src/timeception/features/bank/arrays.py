"""Feature arrays in files of any known format, and the order of their axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from timeception import checks
from timeception.weights.containers import (
    LazyArrays,
    as_array,
    container_of,
    damage_reported,
    open_content,
)

#: Files with these suffixes are array files, even if their content is damaged.
ARRAY_SUFFIXES = frozenset(
    {".npy", ".npz", ".h5", ".hdf5", ".hdf", ".safetensors", ".mat", ".pkl", ".pickle"}
    | {".pt", ".pth"}
)
#: Axis orders that are inferred, by number of axes. Others must be given.
COMMON_AXES = {
    2: ("TC", "CT"),
    3: ("NTC", "NCT"),
    4: ("TCHW", "THWC", "CTHW"),
    5: ("NTHWC", "NTCHW", "NCTHW"),
}
_UNNAMED = "(unnamed)"


class KeyRequiredError(ValueError):
    """A file has several arrays and none was chosen, or it lacks the one that was chosen.

    Args:
        path: the file.
        names: names of its arrays.
        option: the option that chooses.
        wanted: the name that was given.
    """

    def __init__(
        self, path: Path, names: Sequence[str], option: str, wanted: str | None = None
    ) -> None:
        holds = f"holds {', '.join(map(repr, names)) or 'no array'}"
        #: What is wrong and what to do, without the file.
        self.problem = f"{holds}. Choose the features with {option}."
        if wanted is not None:
            hint = checks.did_you_mean(wanted, names)
            self.problem = f"{holds}, but {option} is {wanted!r}. {hint}".rstrip()
        super().__init__(f"{path} {self.problem}")


@dataclass(frozen=True)
class Loaded:
    """The unchanged features of one file and, if requested, one label per step."""

    kind: str
    key: str
    features: NDArray[Any]
    labels: NDArray[Any] | None


def load(path: Path, key: str | None = None, labels_key: str | None = None) -> Loaded:
    """Read features from .npy, .npz, HDF5, safetensors, PyTorch, .mat, or a pickle of arrays.

    The format is recognised by content, never by suffix. Pickles are read without running code.
    The axes of .mat files are in MATLAB's order.

    Args:
        path: The file.
        key: Name of the features; ``None`` reads the only array (except the labels).
        labels_key: Name of an array with one label per step.

    Raises:
        KeyRequiredError: If ``key`` is required, or the file has no such array.
        ValueError: If the format is unknown or the file is damaged.
    """
    kind = container_of(path)
    with ExitStack() as stack:
        with damage_reported(path, kind):
            content = stack.enter_context(open_content(path, kind))
        by_name = _by_name(content)
        names = tuple(by_name)
        name = _named(path, names, key, labels_key)
        with damage_reported(path, kind):
            labels = as_array(by_name[labels_key]) if labels_key else None
            return Loaded(kind, name, as_array(by_name[name]), labels)


def names_in(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in a file, in order.

    Raises:
        ValueError: If the format is unknown or the file is damaged.
    """
    kind = container_of(path)
    with damage_reported(path, kind), open_content(path, kind) as content:
        return tuple(_by_name(content))


def looks_like_arrays(path: Path) -> bool:
    """Whether a file is an array file by its suffix or, unambiguously, by its content."""
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return True
    try:
        return container_of(path) not in ("pickle", "keras")  # other files can look like pickles
    except ValueError:
        return False


def parse_axes(text: str) -> str:
    """Check an axis order such as ``TC`` or ``NTHWC``, and return it in upper case.

    Letters are T (time), C (channels), H and W (both or neither), and N (a single clip).

    Raises:
        ValueError: If a letter is unknown, repeated or missing.

    Example:
        >>> parse_axes("thwc")
        'THWC'
    """
    axes = text.strip().upper()
    letters = set(axes)
    is_known = set("TC") <= letters <= set("NTCHW") and len(letters) == len(axes)
    is_order = is_known and ("H" in axes) == ("W" in axes)
    must = "contain T, C, and both or neither of H and W, each once"
    advice = "Examples: TC, CT, TCHW, THWC, CTHW, NTHWC (N is a single clip)."
    checks.require(is_order, "axes", must, text, advice)
    return axes


def likely_axes(shape: tuple[int, ...], n_labels: int | None = None) -> tuple[str, ...]:
    """Return the common axis orders that are possible for a shape.

    A clip axis must have length 1, and the time axis the number of labels, if there are labels. If
    some orders give square maps larger than one cell, only these are returned.

    Raises:
        ValueError: If no common order is possible.

    Example:
        >>> likely_axes((128, 7, 7, 1024)), likely_axes((128, 1024)), likely_axes((9, 4), 9)
        (('THWC',), ('TC', 'CT'), ('TC',))
    """
    options = [axes for axes in COMMON_AXES.get(len(shape), ()) if _admits(axes, shape, n_labels)]
    square = [axes for axes in options if _side(axes, shape) > 1]
    if not options:
        labels = "" if n_labels is None else f" with {n_labels} labels"
        problem = "match no common axis order. Pass it with --axes."
        raise ValueError(f"features of shape {shape}{labels} {problem}")
    return tuple(square or options)


def to_steps(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """Convert an array to shape (S, C, H, W). Features without maps get maps of one cell.

    Raises:
        ValueError: If the array does not have these axes, has more than one clip, is empty, or is
            not of real numbers.

    Example:
        >>> import numpy as np
        >>> to_steps(np.zeros((128, 1024)), "TC").shape
        (128, 1024, 1, 1)
    """
    must = f"name the {array.ndim} axes of features of shape {array.shape}"
    checks.require(array.ndim == len(axes), "axes", must, axes)
    checks.require(array.size > 0, "features", "not be empty", array.shape)
    checks.require(array.dtype.kind in "fiu", "features", "be real numbers", str(array.dtype))
    if "N" in axes:
        n_clips = array.shape[axes.index("N")]
        checks.require(n_clips == 1, "axis N", "have length 1, one video per file", n_clips)
        array = array.squeeze(axes.index("N"))
        axes = axes.replace("N", "")
    if "H" not in axes:
        array, axes = array[..., None, None], f"{axes}HW"
    return array.transpose([axes.index(axis) for axis in "TCHW"])


def _admits(axes: str, shape: tuple[int, ...], n_labels: int | None) -> bool:
    is_one_clip = "N" not in axes or shape[axes.index("N")] == 1
    return is_one_clip and n_labels in (None, shape[axes.index("T")])


def _side(axes: str, shape: tuple[int, ...]) -> int:
    """Side of square maps; 0 for others."""
    if "H" not in axes:
        return 0
    height, width = shape[axes.index("H")], shape[axes.index("W")]
    return height if height == width else 0


def _by_name(content: Any) -> Mapping[str, Any]:
    """The arrays of an open file by name. An array without a name gets one."""
    if not isinstance(content, Mapping):
        return {_UNNAMED: content}
    if isinstance(content, LazyArrays):
        return content
    return {str(name): value for name, value in content.items() if hasattr(value, "shape")}


def _named(path: Path, names: Sequence[str], key: str | None, labels_key: str | None) -> str:
    if labels_key is not None and labels_key not in names:
        raise KeyRequiredError(path, names, "--frame-labels", labels_key)
    if key is not None:
        if key not in names:
            raise KeyRequiredError(path, names, "--key", key)
        return key
    others = [name for name in names if name != labels_key]
    if len(others) != 1:
        raise KeyRequiredError(path, names, "--key")
    return others[0]


def require_key(paths: Sequence[Path], key: str | None, labels_key: str | None = None) -> None:
    """Check that ``key`` selects an array in some file; stops at the first one that it fits.

    Raises:
        ValueError: If every readable file requires another key; the error names the arrays.
    """
    problems: dict[Path, str] = {}
    for path in paths:
        try:
            names = names_in(path)
        except (ValueError, OSError):  # reported when it is imported
            continue
        try:
            _named(path, names, key, labels_key)
        except KeyRequiredError as error:
            problems[path] = error.problem
        else:
            return
    if problems:
        first, *others = dict.fromkeys(problems.values())
        more = f" Some hold other arrays: the next {others[0]}" if others else ""
        which = f"each of {len(problems)} files" if len(problems) > 1 else str(next(iter(problems)))
        raise ValueError(f"{which} {first}{more}")
