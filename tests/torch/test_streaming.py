from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.contracts import assert_close, draw_input
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.torch import StreamingClassifier, TimeceptionClassifier
from timeception.torch.fast import native

IMPLEMENTATIONS = ["torch"] if native.why_unavailable() else ["torch", "native"]


def build(
    n_layers: int = 2,
    is_dilated: bool = True,
    lookahead: bool = True,
    map_size: tuple[int, int] | None = None,
) -> TimeceptionClassifier:
    layers = TimeceptionSpec(24, n_layers, 2, is_dilated, pool_lookahead=lookahead)
    spec = ClassifierSpec(layers, 5, hidden=16, map_size=map_size)
    return TimeceptionClassifier.from_arrays(spec, oracle.random_arrays(spec.parameter_shapes()))


def video(timesteps: int, n_clips: int = 1) -> torch.Tensor:
    return torch.from_numpy(draw_input((n_clips, 24, timesteps, 2, 1)))


@settings(deadline=None, max_examples=80)
@given(
    chunks=st.lists(st.integers(0, 17), min_size=1, max_size=12).filter(lambda c: sum(c) >= 8),
    n_layers=st.integers(1, 3),
    is_dilated=st.booleans(),
    lookahead=st.booleans(),
    keeps_map=st.booleans(),
    implementation=st.sampled_from(IMPLEMENTATIONS),
)
def test_every_chunking_gives_the_whole(
    chunks: list[int],
    n_layers: int,
    is_dilated: bool,
    lookahead: bool,
    keeps_map: bool,
    implementation: str,
) -> None:
    model = build(n_layers, is_dilated, lookahead, (2, 1) if keeps_map else None)
    x = video(sum(chunks), n_clips=2)
    with torch.inference_mode():
        features = model.timeception(x)
        expected = model(x).numpy()
    stream = StreamingClassifier(model, implementation)
    evidence = [stream.push(piece) for piece in x.split(chunks, dim=2)]
    logits, last = stream.finish()
    assert_close(logits.numpy(), expected, 1e-5)
    evidence.append(last)
    streamed = torch.cat([one.features for one in evidence], dim=2)
    assert_close(streamed.numpy(), features.numpy(), 1e-5)
    steps = [one.first_step for one in evidence]
    sizes = [one.features.shape[2] for one in evidence]
    assert steps == [sum(sizes[:i]) for i in range(len(sizes))]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("is_dilated", [True, False])
@pytest.mark.parametrize("lookahead", [True, False])
def test_scores_are_those_of_what_came_so_far(
    is_dilated: bool, lookahead: bool, implementation: str
) -> None:
    model, x = build(2, is_dilated, lookahead), video(30)
    stream = StreamingClassifier(model, implementation)
    for t in range(30):
        stream.push(x[:, :, t : t + 1])
        if t + 1 >= 4:
            with torch.inference_mode():
                expected = model(x[:, :, : t + 1]).numpy()
            assert_close(stream.scores().numpy(), expected, 1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("is_dilated", [True, False])
def test_an_hour_equals_the_whole_pass(is_dilated: bool, implementation: str) -> None:
    """10,800 timesteps: 8 frames a segment, 24 frames a second."""
    model, x = build(4, is_dilated), video(10_800)
    stream = StreamingClassifier(model, implementation)
    sizes = [1, 2, 7, 45, 180, 365] * 18
    for piece in x.split(sizes, dim=2):
        stream.push(piece)
    assert stream.n_timesteps == 10_800
    with torch.inference_mode():
        assert_close(stream.scores().numpy(), model(x).numpy(), 1e-5)
        assert_close(stream.finish()[0].numpy(), model(x).numpy(), 1e-5)


@pytest.mark.parametrize("map_size", [None, (2, 1)])
def test_evidence_scores_each_step_alone(map_size: tuple[int, int] | None) -> None:
    model, x = build(map_size=map_size), video(40)
    stream = StreamingClassifier(model)
    first = stream.push(x)
    _, last = stream.finish()
    with torch.inference_mode():
        features = model.timeception(x)
        alone = [model.classify(model.global_pool(features[:, :, i : i + 1])) for i in range(10)]
    together = torch.cat([first.logits, last.logits], dim=1)
    assert_close(together.numpy(), torch.stack(alone, dim=1).numpy(), 1e-5)


def test_long_pushes_are_taken_in_pieces() -> None:
    model, x = build(3), video(300)
    stream = StreamingClassifier(model)
    stream.push(x)
    with torch.inference_mode():
        assert_close(stream.scores().numpy(), model(x).numpy(), 1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_memory_does_not_grow(implementation: str) -> None:
    """What the stream holds after 100 and after 1000 timesteps, by the size of its pickle."""
    stream, sizes = StreamingClassifier(build(3), implementation), {}
    for t in range(1, 1001):
        stream.push(video(1))
        if t in (100, 1000):
            sizes[t] = len(pickle.dumps(stream._steps.fork()))
    assert sizes[1000] <= 1.1 * sizes[100]


def test_a_new_video() -> None:
    model, x = build(), video(12)
    stream = StreamingClassifier(model)
    stream.push(video(40))
    stream.finish()
    stream.reset()
    stream.push(x)
    with torch.inference_mode():
        assert_close(stream.scores().numpy(), model(x).numpy(), 1e-5)


def test_the_model_is_left_alone() -> None:
    model = build().train()
    StreamingClassifier(model).push(video(20))
    assert model.training
    assert model.implementation == "torch"


def test_too_short() -> None:
    stream = StreamingClassifier(build())
    words = r"timesteps must be at least 2 \*\* n_layers = 4; got 0"
    with pytest.raises(ValueError, match=words):
        stream.scores()
    stream.push(video(3))
    with pytest.raises(ValueError, match="got 3"):
        stream.finish()


def test_after_the_end() -> None:
    stream = StreamingClassifier(build())
    stream.push(video(5))
    stream.finish()
    for call in (stream.finish, stream.scores, lambda: stream.push(video(1))):
        with pytest.raises(ValueError, match=r"was finished; call reset\(\)"):
            call()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 24, 3), "5 axes"),
        ((1, 23, 3, 2, 1), "24 channels"),
        ((2, 24, 3, 2, 1), "same N, C, H, W as earlier pushes"),
        ((1, 24, 3, 2, 2), "same N, C, H, W as earlier pushes"),
    ],
)
def test_bad_inputs(shape: tuple[int, ...], words: str) -> None:
    stream = StreamingClassifier(build())
    stream.push(video(5))
    with pytest.raises(ValueError, match=words):
        stream.push(torch.zeros(shape))
