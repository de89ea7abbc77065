"""Arrays in files of any known kind, told apart by content, and the order of their axes."""

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

#: Suffixes under which a folder's files are taken for arrays even if their content is damaged.
ARRAY_SUFFIXES = frozenset(
    {".npy", ".npz", ".h5", ".hdf5", ".hdf", ".safetensors", ".pkl", ".pickle", ".pt", ".pth"}
)
#: Axis orders that are asked about, by number of axes. Others can be told.
COMMON_AXES = {
    2: ("TC", "CT"),
    3: ("NTC", "NCT"),
    4: ("TCHW", "THWC", "CTHW"),
    5: ("NTHWC", "NTCHW", "NCTHW"),
}
_UNNAMED = "(unnamed)"


@dataclass(frozen=True)
class Loaded:
    """The features of one file as they stand there, and a label for every step if asked for."""

    kind: str
    key: str
    features: NDArray[Any]
    labels: NDArray[Any] | None


def load(path: Path, key: str | None = None, labels_key: str | None = None) -> Loaded:
    """Read features from .npy, .npz, HDF5, safetensors, PyTorch, or a pickle of arrays.

    The content decides, never the extension. Pickles are read without running code.

    Args:
        path: the file.
        key: name of the features in it; ``None`` takes the only array (beside the labels).
        labels_key: name of an array with a label for every step.

    Raises:
        ValueError: if the content is of no known kind or damaged, or if it is not clear which
            array is meant.
    """
    kind = container_of(path)
    with ExitStack() as stack:
        with damage_reported(path, kind):
            content = stack.enter_context(open_content(path, kind))
        by_name = _by_name(content)
        names = tuple(by_name)
        wanted = labels_key and str(checks.one_of(f"{path}: labels key", labels_key, names))
        name = _named(path, names, key, wanted)
        with damage_reported(path, kind):
            labels = as_array(by_name[wanted]) if wanted else None
            return Loaded(kind, name, as_array(by_name[name]), labels)


def names_in(path: Path) -> tuple[str, ...]:
    """Names of the arrays in a file, in its order.

    Raises:
        ValueError: if the content is of no known kind or damaged.
    """
    kind = container_of(path)
    with damage_reported(path, kind), open_content(path, kind) as content:
        return tuple(_by_name(content))


def looks_like_arrays(path: Path) -> bool:
    """Whether a folder's file is meant as arrays: by its suffix, or without a doubt by content."""
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return True
    try:
        return container_of(path) not in ("pickle", "keras")  # no sign of a pickle is certain
    except ValueError:
        return False


def parse_axes(text: str) -> str:
    """Check an axis order such as ``TC`` or ``NTHWC``, and return it in capitals.

    Letters are T (time), C (channels), H and W (both or neither), and N (a single clip).

    Raises:
        ValueError: if a letter is unknown, occurs twice, or misses.

    Example:
        >>> parse_axes("thwc")
        'THWC'
    """
    axes = text.strip().upper()
    is_order = (
        set(axes) <= set("NTCHW")
        and len(set(axes)) == len(axes)
        and {"T", "C"} <= set(axes)
        and ("H" in axes) == ("W" in axes)
    )
    advice = "Examples: TC, CT, TCHW, THWC, CTHW, NTHWC (N is a single clip)."
    checks.require(is_order, "axes", "name T, C, both or none of H and W, each once", text, advice)
    return axes


def likely_axes(shape: tuple[int, ...], n_labels: int | None = None) -> tuple[str, ...]:
    """The common axis orders that a shape admits.

    A clip axis must have length 1, and time the length of the labels, if there are any. Where an
    order gives square maps larger than one cell, orders that do not are left out.

    Raises:
        ValueError: if arrays of that shape are no features over time.

    Example:
        >>> likely_axes((128, 7, 7, 1024)), likely_axes((128, 1024)), likely_axes((9, 4), 9)
        (('THWC',), ('TC', 'CT'), ('TC',))
    """
    options = [axes for axes in COMMON_AXES.get(len(shape), ()) if _admits(axes, shape, n_labels)]
    square = [axes for axes in options if _side(axes, shape) > 1]
    if not options:
        labels = "" if n_labels is None else f" with {n_labels} labels"
        raise ValueError(
            f"features of shape {shape}{labels} fit no common axis order. Tell it with --axes."
        )
    return tuple(square or options)


def to_steps(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """Bring an array to (S, C, H, W); features without a map get maps of one cell.

    Raises:
        ValueError: if the array does not have these axes, or more than one clip, or no numbers.

    Example:
        >>> to_steps(np.zeros((128, 1024)), "TC").shape
        (128, 1024, 1, 1)
    """
    checks.require(
        array.ndim == len(axes),
        "axes",
        f"name the {array.ndim} axes of the features of shape {array.shape}",
        axes,
    )
    checks.require(array.size > 0, "features", "not be empty", array.shape)
    is_number = array.dtype.kind in "fiu"
    checks.require(is_number, "features", "be real numbers", str(array.dtype))
    if "N" in axes:
        n_clips = array.shape[axes.index("N")]
        checks.require(n_clips == 1, "axis N", "have length 1: one file is one video", n_clips)
        array = array.squeeze(axes.index("N"))
        axes = axes.replace("N", "")
    if "H" not in axes:
        array, axes = array[..., None, None], f"{axes}HW"
    return array.transpose([axes.index(axis) for axis in "TCHW"])


def _admits(axes: str, shape: tuple[int, ...], n_labels: int | None) -> bool:
    is_one_clip = "N" not in axes or shape[axes.index("N")] == 1
    return is_one_clip and n_labels in (None, shape[axes.index("T")])


def _side(axes: str, shape: tuple[int, ...]) -> int:
    """Side of the maps, if they are square; otherwise 0."""
    if "H" not in axes:
        return 0
    height, width = shape[axes.index("H")], shape[axes.index("W")]
    return height if height == width else 0


def _by_name(content: Any) -> Mapping[str, Any]:
    """The arrays of an opened file by name; an array without a name gets one."""
    if not isinstance(content, Mapping):
        return {_UNNAMED: content}
    if isinstance(content, LazyArrays):
        return content
    return {str(name): value for name, value in content.items() if hasattr(value, "shape")}


def _named(path: Path, names: Sequence[str], key: str | None, labels_key: str | None) -> str:
    if key is not None:
        return str(checks.one_of(f"{path}: key", key, names))
    others = [name for name in names if name != labels_key]
    if len(others) != 1:
        found = ", ".join(map(repr, names)) or "no array"
        raise ValueError(f"{path} holds {found}. Name the features with --key.")
    return others[0]
