"""The features that a saved model takes, and whether a bank holds such features."""

from __future__ import annotations

from timeception.features.bank import FeatureBank
from timeception.features.comparison import (
    bank_traits,
    map_words,
    recorded_traits,
    require_traits,
)
from timeception.inference.saved_model import SavedModel


def in_channels_of(model: SavedModel) -> int:
    """Return the channels of the features that a model takes."""
    spec = model.head.spec
    return int(getattr(spec, "timeception", spec).in_channels)


def map_size_of(model: SavedModel) -> tuple[int, int] | None:
    """Return the size of the maps that a model takes; ``None`` is unknown (older models)."""
    recorded = model.pipeline.get("feature_maps") or model.features.get("map_size")
    size = model.map_size or getattr(model.head.spec, "map_size", None) or recorded
    return None if size is None else (int(size[0]), int(size[1]))


def check_model_bank(model: SavedModel, bank: FeatureBank) -> None:
    """Check that a bank's features are of the kind that a model was trained on.

    What the bank of training, or this bank, does not record is not checked.

    Raises:
        ValueError: if they differ; the error lists both sides of every difference.
    """
    trained = recorded_traits(model.features)
    trained |= {"channels": str(in_channels_of(model))}
    has = bank_traits(bank)
    if model.map_size is None:  # sampling averages no maps
        trained["map size"] = map_words(map_size_of(model))
    names = [(each.get("backbone") or {}).get("name") for each in (bank.settings, model.features)]
    made_by = f" (backbone {names[0]}; in training, {names[1]})" if all(names) else ""
    require_traits(
        f"bank {bank.root}{made_by}",
        "this bank",
        has,
        f"the features that {model.folder} was trained on",
        trained,
        "Extract with the backbone and the settings of training, or average the maps with "
        "`timeception bank resize`.",
    )
