"""Explanations: exact sums, planted moments and places, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from timeception.cli import main
from timeception.features.extraction.jobs import VideoFeatures
from timeception.inference.clips import clips_of, output_edges
from timeception.inference.explanation import METHODS, explain, explain_clip, maximum_evidence
from timeception.inference.saved_model import SavedModel
from timeception.torch import PoolingClassifier, TimeceptionClassifier

CLASSES = ("cut", "pour", "stir")
pytestmark = pytest.mark.filterwarnings("ignore:.*required_grads:UserWarning")


def saved(
    head: torch.nn.Module, task: str = "multi-label", windows: tuple[int, int] | None = None
) -> SavedModel:
    names = ("length_steps", "stride_steps")
    pipeline = {
        "task": task,
        "classes": list(CLASSES),
        "sampling": {"n_timesteps": 16, "map_size": None},
        "windows": None if windows is None else dict(zip(names, windows, strict=True)),
        "features": {},
    }
    return SavedModel(head.eval(), pipeline, Path("model"))


def random_head(map_size: tuple[int, int] | None = None) -> TimeceptionClassifier:
    torch.manual_seed(0)
    head = TimeceptionClassifier(16, 3, n_layers=2, n_groups=2, hidden=8, map_size=map_size)
    with torch.no_grad():
        for buffer in head.buffers():
            buffer.uniform_(0.5, 1.5)
        head.norm.bias.uniform_(-1, 1)
    return head


def video(n_steps: int = 24, seed: int = 0) -> VideoFeatures:
    steps = np.random.default_rng(seed).normal(size=(n_steps, 16, 2, 3)).astype(np.float32)
    return VideoFeatures(steps, np.arange(n_steps) * 4, fps=8.0, n_frames=n_steps * 4)


@pytest.mark.parametrize("map_size", [None, (2, 3)])
def test_the_maximum_is_the_gradient_at_the_selected_places(
    map_size: tuple[int, int] | None,
) -> None:
    """Gradient times value of each pooled channel, divided among the places of its maximum."""
    model = saved(random_head(map_size))
    (clip,) = clips_of(model, video())
    head = model.head
    outputs = head.timeception(clip.steps).detach()
    pooled = head.global_pool(outputs).requires_grad_()
    head.classify(pooled)[0, 1].backward()
    products = (pooled.grad * pooled).detach()[0]
    axes = (1, 2, 3) if map_size is None else (1,)
    is_maximum = outputs[0] == outputs[0].amax(axes, keepdim=True)
    shares = is_maximum / is_maximum.sum(axes, keepdim=True)
    expected = (shares * products.view(-1, 1, *(map_size or (1, 1)))).sum(0)
    found = maximum_evidence(model, clip.steps, 1)
    assert found.shape == (4, 2, 3)
    torch.testing.assert_close(found, expected)


def test_the_maximum_is_exact_in_a_small_step() -> None:
    """The classifier is linear around the pooled features: contributions scale with them."""
    model = saved(random_head())
    (clip,) = clips_of(model, video())
    found = explain_clip(model, clip, 0, "maximum")
    with torch.inference_mode():
        pooled = model.head.global_pool(model.head.timeception(clip.steps))
        change = model.head.classify(pooled * 1.0001)[0, 0] - model.head.classify(pooled)[0, 0]
        logit = float(model.head(clip.steps)[0, 0])
    assert np.isclose(float(change) / 1e-4, found.contributions.sum(), rtol=0.05, atol=0.02)
    assert np.isclose(found.contributions.sum() + found.rest, logit, atol=1e-5)


@pytest.mark.parametrize("method", ["gradients", "occlusion"])
def test_evidence_is_where_it_was_planted(method: str) -> None:
    """A head whose logit is a sum of one channel at one place: all evidence is there."""

    class Sum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.scale * x[:, 3, 4:6, 1, 2].sum(1)] * 3, dim=1)

    model = saved(Sum())
    (clip,) = clips_of(model, video(16))
    found = explain_clip(model, clip, 0, method).contributions
    excess = clip.steps - clip.steps.mean(2, keepdim=True)
    expected = np.zeros((16, 2, 3))
    expected[4:6, 1, 2] = excess[0, 3, 4:6, 1, 2]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradients_are_complete() -> None:
    model = saved(random_head())
    (clip,) = clips_of(model, video())
    found = explain_clip(model, clip, 2, "gradients")
    with torch.inference_mode():
        mean = clip.steps.mean(2, keepdim=True).expand_as(clip.steps)
        baseline = float(model.head(mean)[0, 2])
    assert np.isclose(found.rest, baseline, atol=0.05)


def test_single_labels_explain_the_excess_over_the_mean() -> None:
    one, several = saved(random_head(), "single-label"), saved(random_head())
    (clip,) = clips_of(one, video())
    mean = np.mean(
        [explain_clip(several, clip, k, "maximum").contributions for k in range(3)], axis=0
    )
    for k in range(3):
        own = explain_clip(several, clip, k, "maximum").contributions
        found = explain_clip(one, clip, k, "maximum").contributions
        np.testing.assert_allclose(found, own - mean, atol=1e-5)


def test_times_follow_the_sampled_timesteps() -> None:
    model = saved(random_head())
    (clip,) = clips_of(model, video(32))
    assert clip.edges_seconds[0] == 0 and clip.edges_seconds[-1] == 16
    assert (np.diff(clip.edges_seconds) > 0).all()
    edges = output_edges(clip, 4)
    assert edges[[0, -1]].tolist() == [0, 16] and edges[1] == clip.edges_seconds[4]


def test_the_window_with_the_highest_score_is_explained() -> None:
    model = saved(random_head(), windows=(8, 8))
    features = video(32, seed=3)
    clips = clips_of(model, features)
    assert [clip.edges_seconds[0] for clip in clips] == [0, 4, 8, 12]
    scores = np.concatenate([model.score(clip.steps.transpose(1, 2).numpy()) for clip in clips])
    for column, label in enumerate(CLASSES):
        best = int(scores[:, column].argmax())
        found = explain(model, features, label)
        assert found.edges_seconds[0] == 4 * best
        assert np.isclose(found.score, scores[best, column])


def test_what_cannot_be_explained_is_refused() -> None:
    model = saved(PoolingClassifier(16, 3, hidden=8))
    with pytest.raises(ValueError, match="without global max pooling"):
        explain(model, video())
    assert explain(model, video(), method="occlusion").contributions.shape == (16, 2, 3)
    with pytest.raises(ValueError, match="class"):
        explain(model, video(), "wash")
    with pytest.raises(ValueError, match="method"):
        explain(model, video(), method="guess")


def test_missing_captum_is_reported(monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(__import__("sys").modules, "captum", None)
    assert main(["explain", "run", "v.mp4", "--method", "gradients"]) == 2
    assert "timeception[explain]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to explain"),
        (["--class", "cut", "--kernels", "k.html"], "--class requires VIDEO"),
        (["--json", "--kernels", "k.html"], "--json requires VIDEO"),
        (["v.mp4", "--top", "2", "--json"], "not both"),
        (["v.mp4", "--method", "guess"], "guess"),
    ],
)
def test_wrong_use(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "run", *words]) == 2
    assert message in capsys.readouterr().err


def test_json_has_every_step() -> None:
    found = explain(saved(random_head()), video(), "pour")
    fields = json.loads(json.dumps(found.to_dict()))
    assert fields["class"] == "pour" and len(fields["steps"]) == 4
    assert set(METHODS) >= {fields["method"]}
    start, end, value = found.top_moments(1)[0]
    best = max(fields["steps"], key=lambda step: np.sum(step["contributions"]))
    assert (start, end) == (best["start_seconds"], best["end_seconds"])
    assert np.isclose(value, np.sum(best["contributions"]))
