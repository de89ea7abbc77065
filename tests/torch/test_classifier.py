from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests import oracle
from tests.contracts import assert_close, draw_input
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.torch import PoolingClassifier, TimeceptionClassifier
from timeception.weights import read_checkpoint

MODELS = {
    "timeception": lambda **more: TimeceptionClassifier(
        24, 3, 2, 2, False, hidden=8, map_size=(2, 1), pool_lookahead=False, **more
    ),
    "pooling": lambda **more: PoolingClassifier(24, 3, hidden=8, **more),
}


def clips(*shape: int) -> torch.Tensor:
    return torch.from_numpy(draw_input(shape))


@pytest.mark.parametrize("kind", MODELS)
def test_round_trip(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind](pipeline={"classes": ["a", "b", "c"]}).eval()
    model.save_pretrained(tmp_path / "model")
    again = type(model).from_pretrained(tmp_path / "model")
    assert (again.spec, again.pipeline) == (model.spec, {"classes": ["a", "b", "c"]})
    assert not again.training
    x = clips(2, 24, 9, 2, 1)
    assert torch.equal(again(x), model(x))
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert files == {"config.json", "model.safetensors", "README.md"}


def test_old_names_work_with_a_warning(tmp_path: Path) -> None:
    model, features = MODELS["timeception"]().eval(), clips(2, 35, 2, 2, 1)
    with pytest.warns(DeprecationWarning, match="readout is now called global_pool"):
        assert torch.equal(model.readout(features), model.global_pool(features))
    with pytest.warns(DeprecationWarning, match="readout is now called global_pool"):
        assert torch.equal(model.fuse("torch").readout(features), model.global_pool(features))
    with pytest.warns(DeprecationWarning, match="readout_channels is now called pooled_channels"):
        assert model.spec.readout_channels == model.spec.pooled_channels
    model.save_pretrained(tmp_path)
    with pytest.warns(DeprecationWarning, match="is now called folder_or_hub_id"):
        again = TimeceptionClassifier.from_pretrained(pretrained_model_name_or_path=tmp_path)
    assert again.spec == model.spec


def test_another_kind_of_model(tmp_path: Path) -> None:
    MODELS["pooling"]().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="hold a TimeceptionClassifier; got 'PoolingSpec'"):
        TimeceptionClassifier.from_pretrained(tmp_path)


def test_pushed_to_the_hub(tmp_path: Path, monkeypatch) -> None:
    sent = {}

    class Api:
        def __init__(self, token: str | None = None) -> None:
            pass

        def create_repo(self, repo_id: str, **options: object) -> Api:
            self.repo_id = repo_id
            return self

        def upload_folder(self, *, repo_id: str, folder_path: Path, **options: object) -> str:
            sent[repo_id] = {path.name for path in Path(folder_path).iterdir()}
            return "url"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    assert MODELS["timeception"]().push_to_hub("user/model") == "url"
    assert sent["user/model"] == {"config.json", "model.safetensors", "README.md"}


def test_a_saved_folder_is_a_checkpoint(tmp_path: Path) -> None:
    model = MODELS["timeception"]()
    model.save_pretrained(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    again = TimeceptionClassifier.from_arrays(checkpoint.spec, checkpoint.arrays)
    assert all(np.array_equal(a, b) for a, b in zip(*map(values, (model, again)), strict=True))


def values(model: TimeceptionClassifier) -> list[np.ndarray]:
    return list(model.to_arrays().values())


def test_half_precision_is_saved_whole(tmp_path: Path) -> None:
    MODELS["timeception"]().bfloat16().save_pretrained(tmp_path)
    again = TimeceptionClassifier.from_pretrained(tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}


def test_pooling_is_blind_to_order() -> None:
    model, x = MODELS["pooling"]().eval(), clips(2, 24, 9, 2, 1)
    assert_close(model(x.flip(2)).detach().numpy(), model(x).detach().numpy(), 1e-5)
    pooled = torch.cat([x.mean((2, 3, 4)), x.amax((2, 3, 4))], 1)
    assert torch.equal(model(x), model.classify(pooled))


def test_dropout_only_in_training() -> None:
    model = TimeceptionClassifier(24, 3, 1, 2, hidden=8, dropout=(0.9, 0.9))
    x = clips(4, 24, 9, 2, 1)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_training_equals_the_oracle() -> None:
    spec = ClassifierSpec(TimeceptionSpec(24, 2, 2), 3, hidden=8, dropout=(0, 0))
    arrays, x = oracle.random_arrays(spec.parameter_shapes()), draw_input((4, 24, 9, 2, 1))
    model = TimeceptionClassifier.from_arrays(spec, arrays).train()
    actual = model(torch.from_numpy(x)).detach().numpy()
    assert_close(actual, oracle.logits(spec, arrays, x, training=True), 1e-3)


@pytest.mark.parametrize(
    ("kind", "shape", "words"),
    [
        ("timeception", (2, 24, 9, 3, 1), "maps of map_size=\\(2, 1\\) .* got \\(3, 1\\)"),
        ("timeception", (2, 23, 9, 2, 1), "24 channels"),
        ("timeception", (2, 24, 3, 2, 1), "at least 2 \\*\\* n_layers = 4; got 3"),
        ("pooling", (2, 23, 9, 2, 1), "24 channels"),
        ("pooling", (2, 24), "5 axes"),
    ],
)
def test_bad_inputs(kind: str, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MODELS[kind]()(clips(*shape))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_classes": 0}, "n_classes must be"),
        ({"n_classes": 3, "hidden": -1}, "hidden must be"),
        ({"n_classes": 3, "dropout": (1.0, 0)}, "dropout must lie in \\[0, 1\\); got 1.0"),
        ({"n_classes": 3, "dropout": (0.5,)}, "dropout must be two rates"),
    ],
)
@pytest.mark.parametrize("kind", [TimeceptionClassifier, PoolingClassifier])
def test_bad_arguments(kind: type, arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind(40, **arguments)
