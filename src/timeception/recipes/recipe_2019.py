"""Converts configuration files of the 2019 code, recognised by their content, to recipes.

Source: the keys of the 2019 YAML files, and the defaults of the 2019 code for missing keys.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from timeception import checks

logger = logging.getLogger(__name__)

_DEFAULTS: dict[str, dict[str, Any]] = {
    "MODEL": {
        "CLASSIFICATION_TYPE": "ml",
        "N_CLASSES": 157,
        "N_CHAMNNEL_GROUPS": 8,  # the spelling of 2019
        "N_TC_LAYERS": 4,
        "N_TC_TIMESTEPS": 64,
        "N_INPUT_TIMESTEPS": 512,
        "NAME": "",
        "BACKBONE_CNN": "i3d",
        "BACKBONE_FEATURE": "mixed_5c",
        "MULTISCALE_TYPE": "dl",
    },
    "TRAIN": {"BATCH_SIZE": 64, "N_EPOCHS": 500, "SCHEME": "tco", "N_WORKERS": 10},
    "TEST": {"BATCH_SIZE": 64, "N_SAMPLES": 10},
    "SOLVER": {
        "NAME": "adam",
        "LR": 1e-4,
        "ADAM_EPSILON": 1e-4,
        "SGD_WEIGHT_DECAY": 1e-4,
        "SGD_MOMENTUM": 0.9,
        "SGD_NESTEROV": True,
    },
}
_LEFT_OUT = ("NUM_GPUS", "LOG_PERIOD", "DEBUG")
_SCHEMES = {"tco": "timeception_only", "ete": "end_to_end"}

#: Pattern in the 2019 name; our name, endpoint and channels.
_BACKBONES = (
    (r"i3d", "i3d", "Mixed_5c", 1024),
    (r"(r3d|3d.?resnet|resnet.?3d).*50", "r3d_50", "res5", 2048),
    (r"r3d|3d.?resnet|resnet.?3d", "r3d_101", "res5", 2048),
    (r"r2d|resnet", "r2d_152", "features", 2048),
)

#: Pattern in the 2019 name; kind of data.
_DATA = (
    (r"charades", "charades"),
    (r"breakfast.*(action|unit)", "breakfast_actions"),
    (r"breakfast", "breakfast_activities"),
    (r"thumos", "multithumos"),
    (r"kinetics", "kinetics"),
)


def is_2019(fields: Mapping[str, Any]) -> bool:
    """Return whether a mapping is a configuration of the 2019 code."""
    return {"MODEL", "TRAIN", "SOLVER"} <= set(fields)


def fields_of_2019(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Convert a 2019 configuration to the fields of a recipe.

    Args:
        fields: the content of the file.
        name: name of the recipe, because the file has none.

    Raises:
        ValueError: for unknown keys, data sets, backbones or choices.
    """
    model, train, test, solver = _sections(fields)
    data = _data(str(fields.get("DATASET_NAME", "charades")), model)
    return {
        "name": re.sub(r"[^\w.-]", "_", name),
        "about": "from a configuration file of 2019",
        "data": data,
        "backbone": _backbone(model),
        "sampling": {"n_timesteps": model["N_TC_TIMESTEPS"]},
        "model": {
            "n_layers": model["N_TC_LAYERS"],
            "n_groups": model["N_CHAMNNEL_GROUPS"],
            "is_dilated": _choice("MODEL.MULTISCALE_TYPE", model, ("dl", "ks")) == "dl",
            "bn_momentum": 0.01,
        },
        "training": {
            "scheme": _SCHEMES[_choice("TRAIN.SCHEME", train, tuple(_SCHEMES))],
            "batch_size": train["BATCH_SIZE"],
            "epochs": train["N_EPOCHS"],
            "workers": 0,  # features are memory-mapped; in 2019, 10 workers ran the backbone
            **_solver(solver),
        },
        "testing": {"batch_size": test["BATCH_SIZE"], "draws": test["N_SAMPLES"]},
    }


def _sections(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the four sections, with defaults for missing keys; unknown keys are errors."""
    for key in fields:
        checks.one_of("key of the 2019 file", key, (*_DEFAULTS, "DATASET_NAME", *_LEFT_OUT))
    unused = [key for key in _LEFT_OUT if key in fields]
    if unused:
        logger.info("ignored, because they have no effect here: %s", ", ".join(unused))
    sections = []
    for section, defaults in _DEFAULTS.items():
        given = fields.get(section) or {}
        checks.require(isinstance(given, dict), section, "be a mapping", given)
        for key in given:
            checks.one_of(f"key of {section} in the 2019 file", key, tuple(defaults))
        sections.append(defaults | given)
    return sections


def _data(dataset: str, model: Mapping[str, Any]) -> dict[str, Any]:
    kinds = [kind for pattern, kind in _DATA if re.search(pattern, dataset.lower())]
    advice = "Known: charades, breakfast, multithumos, kinetics."
    checks.require(bool(kinds), "DATASET_NAME", "name a known data set", dataset, advice)
    task = _choice("MODEL.CLASSIFICATION_TYPE", model, ("ml", "sl"))
    folder = kinds[0].split("_")[0]
    return {
        "kind": kinds[0],
        "source": folder,
        "videos": f"{folder}/videos",
        "bank": f"banks/{folder}_{_backbone(model)['name'].split('_')[0]}",
        "task": "multi-label" if task == "ml" else "single-label",
        "n_classes": model["N_CLASSES"],
        "trains_on_unlabelled": False,
    }


def _backbone(model: Mapping[str, Any]) -> dict[str, Any]:
    given = str(model["BACKBONE_CNN"])
    known = [b for b in _BACKBONES if re.search(b[0], given.lower())]
    advice = "Known: names with i3d, resnet (2D) or r3d."
    checks.require(bool(known), "MODEL.BACKBONE_CNN", "name a known backbone", given, advice)
    _, name, endpoint, channels = known[0]
    frames, steps = model["N_INPUT_TIMESTEPS"], model["N_TC_TIMESTEPS"]
    are_counts = isinstance(frames, int) and isinstance(steps, int) and steps >= 1
    divides = are_counts and frames >= steps and frames % steps == 0
    checks.require(
        divides, "MODEL.N_INPUT_TIMESTEPS", f"be a multiple of N_TC_TIMESTEPS ({steps})", frames
    )
    return {
        "name": name,
        "endpoint": endpoint,
        "frames_per_segment": frames // steps,
        "channels": channels,
        "map_size": [7, 7],
    }


def _solver(solver: Mapping[str, Any]) -> dict[str, Any]:
    common = {"learning_rate": solver["LR"]}
    if _choice("SOLVER.NAME", solver, ("adam", "sgd")) == "adam":
        return common | {"optimizer": "adam", "epsilon": solver["ADAM_EPSILON"]}
    return common | {
        "optimizer": "sgd",
        "weight_decay": solver["SGD_WEIGHT_DECAY"],
        "momentum": solver["SGD_MOMENTUM"],
        "nesterov": solver["SGD_NESTEROV"],
    }


def _choice(name: str, section: Mapping[str, Any], allowed: tuple[str, ...]) -> str:
    return str(checks.one_of(name, str(section[name.split(".")[1]]).lower(), allowed))
