"""Configuration files of 2019, read as recipes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from timeception.recipes.recipe import load_recipe, read_2019_yaml

OLD: dict[str, Any] = {
    "NUM_GPUS": 1,
    "LOG_PERIOD": 10,
    "DATASET_NAME": "charades",
    "MODEL": {
        "CLASSIFICATION_TYPE": "ml",
        "N_CLASSES": 157,
        "N_CHAMNNEL_GROUPS": 8,
        "N_TC_LAYERS": 4,
        "N_TC_TIMESTEPS": 128,
        "N_INPUT_TIMESTEPS": 1024,
        "NAME": "charades_timeception",
        "BACKBONE_CNN": "i3d_pytorch_charades_rgb",
        "BACKBONE_FEATURE": "mixed_5c",
        "MULTISCALE_TYPE": "dl",
    },
    "TRAIN": {"BATCH_SIZE": 16, "N_EPOCHS": 500, "SCHEME": "tco", "N_WORKERS": 10},
    "TEST": {"BATCH_SIZE": 32, "N_SAMPLES": 10},
    "SOLVER": {
        "NAME": "adam",
        "LR": 0.01,
        "ADAM_EPSILON": 0.0001,
        "SGD_WEIGHT_DECAY": 0.0001,
        "SGD_MOMENTUM": 0.9,
        "SGD_NESTEROV": True,
    },
}


def old_file(folder: Path, **changes: object) -> Path:
    """Write a file of 2019; ``MODEL__NAME=None`` takes a key out."""
    fields = copy.deepcopy(OLD)
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        target, name = (fields.setdefault(section, {}), leaf) if leaf else (fields, section)
        if value is None:
            del target[name]
        else:
            target[name] = value
    path = folder / "charades_i3d_tc4_f1024.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def test_the_published_row_comes_out_again(tmp_path: Path) -> None:
    old, ours = read_2019_yaml(old_file(tmp_path)), load_recipe("charades_i3d_tc4_f1024")
    assert old.name == ours.name
    for section in ("sampling", "model", "training", "end_to_end"):
        assert getattr(old, section) == getattr(ours, section), section
    assert (old.testing.batch_size, old.testing.draws) == (32, 10)
    assert old.protocol(is_multilabel=True) == ours.protocol(is_multilabel=True)
    for field in ("name", "endpoint", "frames_per_segment", "channels"):
        assert getattr(old.backbone, field) == getattr(ours.backbone, field), field
    for field in ("kind", "source", "videos", "bank", "n_classes", "trains_on_unlabelled"):
        assert getattr(old.data, field) == getattr(ours.data, field), field


def test_the_train_command_tells_it_by_content(tmp_path: Path) -> None:
    recipe = load_recipe(old_file(tmp_path), ["training.epochs=2", "data.bank=mine"])
    assert recipe.training.epochs == 2
    assert recipe.data.bank == Path("mine")
    assert recipe.data.task == "multi-label"


def test_absent_keys_have_the_values_of_2019(tmp_path: Path) -> None:
    path = old_file(tmp_path, SOLVER__LR=None, TEST=None, MODEL__N_TC_LAYERS=None)
    recipe = read_2019_yaml(path)
    assert recipe.training.learning_rate == 1e-4
    assert (recipe.testing.batch_size, recipe.testing.draws) == (64, 10)
    assert recipe.model.n_layers == 4


def test_stochastic_gradient_descent(tmp_path: Path) -> None:
    training = read_2019_yaml(old_file(tmp_path, SOLVER__NAME="sgd")).training
    assert (training.optimizer, training.weight_decay) == ("sgd", 1e-4)
    assert (training.momentum, training.nesterov) == (0.9, True)


@pytest.mark.parametrize(
    ("dataset", "backbone", "frames", "steps", "kind", "name", "length"),
    [
        ("charades", "resnet152", 64, 64, "charades", "r2d_152", 1),
        ("Charades", "r3d_101_charades", 1024, 128, "charades", "r3d_101", 8),
        ("multi_thumos", "i3d_keras_kinetics", 512, 64, "multithumos", "i3d", 8),
        ("breakfast", "i3d", 512, 64, "breakfast_activities", "i3d", 8),
        ("breakfast_actions", "i3d", 512, 64, "breakfast_actions", "i3d", 8),
        ("kinetics400", "3d_resnet50", 256, 32, "kinetics", "r3d_50", 8),
    ],
)
def test_names_of_2019(
    tmp_path: Path,
    dataset: str,
    backbone: str,
    frames: int,
    steps: int,
    kind: str,
    name: str,
    length: int,
) -> None:
    model = {"BACKBONE_CNN": backbone, "N_INPUT_TIMESTEPS": frames, "N_TC_TIMESTEPS": steps}
    path = old_file(tmp_path, DATASET_NAME=dataset, **{f"MODEL__{k}": v for k, v in model.items()})
    recipe = read_2019_yaml(path)
    assert recipe.data.kind == kind
    assert (recipe.backbone.name, recipe.backbone.frames_per_segment) == (name, length)
    assert recipe.sampling.n_timesteps == steps


def test_end_to_end_and_kernel_sizes(tmp_path: Path) -> None:
    path = old_file(tmp_path, TRAIN__SCHEME="ete", MODEL__MULTISCALE_TYPE="ks")
    recipe = read_2019_yaml(path)
    assert recipe.is_end_to_end and not recipe.model.is_dilated
    assert recipe.data.videos is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MODEL__N_CHANNEL_GROUPS": 8}, "key of MODEL .* Did you mean 'N_CHAMNNEL_GROUPS'"),
        ({"SPEED": 3}, "key of the 2019 file must be one of .*got 'SPEED'"),
        ({"DATASET_NAME": "ucf101"}, "DATASET_NAME must name a known data set; got 'ucf101'"),
        ({"MODEL__BACKBONE_CNN": "vgg"}, "MODEL.BACKBONE_CNN must name a known backbone"),
        ({"MODEL__MULTISCALE_TYPE": "xx"}, "MODEL.MULTISCALE_TYPE must be one of 'dl', 'ks'"),
        ({"MODEL__CLASSIFICATION_TYPE": "x"}, "CLASSIFICATION_TYPE must be one of 'ml', 'sl'"),
        ({"TRAIN__SCHEME": "all"}, "TRAIN.SCHEME must be one of 'tco', 'ete'"),
        ({"SOLVER__NAME": "lion"}, "SOLVER.NAME must be one of 'adam', 'sgd'"),
        ({"MODEL__N_INPUT_TIMESTEPS": 1000}, r"multiple of N_TC_TIMESTEPS \(128\); got 1000"),
        ({"MODEL__N_TC_TIMESTEPS": 0}, r"multiple of N_TC_TIMESTEPS \(0\)"),
        ({"TRAIN__BATCH_SIZE": "many"}, r"training\.batch_size: .*integer"),
        ({"MODEL": 3}, "MODEL must be a mapping; got 3"),
    ],
)
def test_what_cannot_be_read_raises(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_2019_yaml(old_file(tmp_path, **changes))


def test_a_recipe_of_ours_is_not_one_of_2019(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_text("name: x\n")
    with pytest.raises(ValueError, match="have sections MODEL, TRAIN, SOLVER"):
        read_2019_yaml(path)
