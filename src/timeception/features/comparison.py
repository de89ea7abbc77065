"""Whether features are of the kind that a recipe names or that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from timeception.features.bank import FeatureBank, MismatchError
from timeception.features.extractor import DEFAULT_PRECISION

Traits = dict[str, str | None]
"""What determines features, in words; ``None`` is unknown and fits everything."""


def recorded_traits(settings: Mapping[str, Any]) -> Traits:
    """Return the traits that a bank's settings record.

    Imported banks record nothing of a backbone; their spacing is known if the rate was given.

    Example:
        >>> recorded_traits({"kind": "import", "fps": 15.0, "stride": 2})
        {'timesteps': 'stride 2 at 15 fps'}
    """
    made = settings.get("backbone")
    if not isinstance(made, Mapping):
        return {"timesteps": _imported_spacing(settings)}
    digest = (made.get("weights") or {}).get("sha256")
    return {
        "weights": digest and f"sha256 {digest[:12]}",  # names and paths of equal weights vary
        "endpoint": made.get("endpoint"),
        "timesteps": spacing(settings.get("stride"), settings.get("fps"), settings),
        "precision": settings.get("precision", DEFAULT_PRECISION),
    }


def bank_traits(bank: FeatureBank) -> Traits:
    """Return the traits of a bank: what its settings record, and the shape of its features."""
    traits = recorded_traits(bank.settings)
    first = next(iter(bank.video_ids), None)
    if first is not None:
        _, channels, height, width = bank.file(first).shape
        traits |= {"channels": str(channels), "map size": f"{height}x{width}"}
    return traits


def spacing(stride: int | None, fps: float | None, settings: Mapping[str, Any]) -> str | None:
    """Say how timesteps are spaced: in frames, or in time; ``None`` if it is unknown."""
    if settings.get("frames_2019") is not None:
        return f"spread as in 2019 for {settings['frames_2019']} frames"
    if fps is not None:
        return f"{fps:g} per second (fps)"
    return None if stride is None else f"every {stride} frames (stride)"


def map_words(size: Sequence[int] | None) -> str | None:
    """Return a map size as ``HxW``."""
    return None if size is None else f"{size[0]}x{size[1]}"


def require_traits(
    what: str, owner: str, has: Traits, wanted_by: str, wanted: Traits, advice: str
) -> None:
    """Check that the known traits of features are the wanted ones.

    Args:
        what: the argument or the features, for the error.
        owner: whose features these are, such as ``"the bank"``.
        has: traits of the features.
        wanted_by: who wants other ones, such as ``"the recipe"``.
        wanted: traits that it wants.
        advice: what to do.

    Raises:
        MismatchError: if some differ; the error lists both sides of every difference.
    """
    lines = [
        f"  {name}: {has[name]} in {owner}, {value} in {wanted_by}"
        for name, value in wanted.items()
        if value is not None and has.get(name) not in (None, value)
    ]
    if lines:
        raise MismatchError("\n".join([f"{what} does not fit {wanted_by}:", *lines, advice]))


def _imported_spacing(settings: Mapping[str, Any]) -> str | None:
    fps, stride = settings.get("fps"), settings.get("stride")
    if fps is None or stride is None or not has_times(settings):
        return None
    return f"stride {stride} at {fps:g} fps"


def has_times(settings: Mapping[str, Any]) -> bool:
    """Whether the times of features are in seconds; imports without ``--fps`` count steps."""
    is_imported = settings.get("kind") == "import"
    return not is_imported or (settings.get("fps"), settings.get("stride")) != (1.0, 1)
