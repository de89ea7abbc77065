"""The Keras localizer equals the numpy oracle and PyTorch's, outputs and gradients."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import oracle
from tests.contracts import assert_close, draw_input
from tests.keras.adapter import channels_last
from timeception.keras import TimeceptionClassifier, TimeceptionLocalizer
from timeception.spec import LocalizerSpec, TimeceptionSpec, is_trainable
from timeception.weights.layouts import from_keras, keras_layouts

LENGTHS = np.array([9, 1, 6])
needs_torch = pytest.mark.skipif(not find_spec("torch"), reason="PyTorch is not installed")


def make_arrays(spec: LocalizerSpec) -> dict[str, np.ndarray]:
    arrays = oracle.random_arrays(spec.parameter_shapes())
    std = np.abs(arrays["input_norm.running_std"]) + 0.5
    return arrays | {"input_norm.running_std": std.astype(np.float32)}


def spec_of(lookahead: bool = True, **fields: object) -> LocalizerSpec:
    layers = TimeceptionSpec(16, 2, 2, pool_lookahead=lookahead)
    return LocalizerSpec(layers, 3, **{"hidden": 4, "n_refinements": 1} | fields)


def numpy_of(y: object) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(y))


@pytest.mark.parametrize(
    ("is_multilabel", "lookahead", "timesteps"),
    [(False, True, 9), (True, False, 1)],
)
def test_stages_equal_the_oracle(is_multilabel: bool, lookahead: bool, timesteps: int) -> None:
    spec = spec_of(lookahead, is_multilabel=is_multilabel)
    arrays, x = make_arrays(spec), draw_input((2, 16, timesteps, 2, 3))
    model = TimeceptionLocalizer.from_arrays(spec, arrays)
    actual = model.stages(channels_last(x))
    if timesteps < 4:  # the last timestep is repeated
        x = np.repeat(x, 4, axis=2)
    expected = oracle.localizer_stages(spec, arrays, x)
    assert len(actual) == 2
    for index, (y, wanted) in enumerate(zip(actual, expected, strict=True)):
        if timesteps >= 4 or index == 0:
            assert_close(np.moveaxis(numpy_of(y), -1, 1), wanted[:, :, :timesteps])


def test_a_padded_batch_equals_single_videos() -> None:
    spec = spec_of(lookahead=False)
    model = TimeceptionLocalizer.from_arrays(spec, make_arrays(spec))
    x = channels_last(draw_input((3, 16, 9, 2, 3)))
    for index, length in enumerate(LENGTHS):
        x[index, length:] = np.nan
    together = numpy_of(model(x, lengths=LENGTHS))
    for index, length in enumerate(LENGTHS):
        alone = numpy_of(model(x[index : index + 1, :length]))[0]
        np.testing.assert_allclose(together[index, :length], alone, atol=1e-4, rtol=1e-4)
        assert not together[index, length:].any()


@needs_torch
@pytest.mark.parametrize("is_padded", [False, True])
def test_outputs_gradients_and_statistics_are_those_of_pytorch(is_padded: bool) -> None:
    """In training, without dropout: the loss of the first stage, as both refine with dropout."""
    import torch

    from timeception.torch import TimeceptionLocalizer as TorchLocalizer

    spec = spec_of(n_refinements=0, dropout=(0.0, 0.0))
    arrays, x = make_arrays(spec), draw_input((3, 16, 9, 1, 2))
    theirs = TorchLocalizer.from_arrays(spec, arrays).train()
    lengths = LENGTHS if is_padded else None
    y = theirs(torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths))
    y.square().sum().backward()
    expected = {name: p.grad.numpy() for name, p in theirs.named_parameters()}

    ours = TimeceptionLocalizer.from_arrays(spec, arrays)
    found, gradients = value_and_gradients(ours, channels_last(x), lengths)
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), y.detach().numpy(), atol=1e-4, rtol=1e-4)
    layouts = keras_layouts(spec)
    assert set(gradients) == set(expected)
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for name, gradient in gradients.items():
        back = layouts[name].from_keras(gradient)
        np.testing.assert_allclose(back, expected[name], atol=1e-5 * largest, err_msg=name)
    moved = ours.to_arrays()
    for name, array in theirs.state_dict().items():
        if name.endswith("running_mean"):
            np.testing.assert_allclose(moved[name], array.numpy(), atol=1e-5, err_msg=name)


def value_and_gradients(
    model: TimeceptionLocalizer, x: np.ndarray, lengths: np.ndarray | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits in training, and the gradients of their squared sum by canonical name."""
    named = {k: v for k, v in model.canonical_variables().items() if is_trainable(k)}
    named = {k: v for k, v in named.items() if not k.startswith("input_norm.")}
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            y = model(x, lengths=lengths, training=True)
            loss = tf.reduce_sum(tf.square(y))
        found = tape.gradient(loss, [variable.value for variable in named.values()])
    elif backend == "torch":
        y = model(x, lengths=lengths, training=True)
        y.square().sum().backward()
        found = [variable.value.grad for variable in named.values()]
        y = y.detach()
    else:
        import jax

        trainable = list(model.trainable_variables)
        others = [v.value for v in model.non_trainable_variables]

        def loss_of(values: list[object]) -> tuple[object, object]:
            y, moved = model.stateless_call(values, others, x, lengths=lengths, training=True)
            return (y**2).sum(), (y, moved)

        (_, (y, moved)), all_found = jax.value_and_grad(loss_of, has_aux=True)(
            [v.value for v in trainable]
        )
        for variable, value in zip(model.non_trainable_variables, moved, strict=True):
            variable.assign(value)
        by_id = {id(v): gradient for v, gradient in zip(trainable, all_found, strict=True)}
        found = [by_id[id(variable)] for variable in named.values()]
    return numpy_of(y), dict(zip(named, map(numpy_of, found), strict=True))


def test_arrays_go_back_and_forth(tmp_path: Path) -> None:
    spec = spec_of()
    arrays = make_arrays(spec)
    model = TimeceptionLocalizer.from_arrays(spec, arrays, {"classes": ["a", "b", "c"]})
    for name, array in model.to_arrays().items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)
    assert set(from_keras(spec, {k: numpy_of(v) for k, v in model.canonical_variables().items()}))
    model.save_pretrained(tmp_path / "folder")
    loaded = TimeceptionLocalizer.from_pretrained(tmp_path / "folder")
    assert loaded.spec == spec
    assert loaded.pipeline == {"classes": ["a", "b", "c"]}
    x = channels_last(draw_input((1, 16, 9, 1, 1)))
    np.testing.assert_allclose(numpy_of(loaded(x)), numpy_of(model(x)), atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy_of(again(x)), numpy_of(model(x)), atol=1e-6)
    with pytest.raises(ValueError, match="must hold a TimeceptionClassifier"):
        TimeceptionClassifier.from_pretrained(tmp_path / "folder")


@needs_torch
def test_a_folder_of_pytorch_is_read(tmp_path: Path) -> None:
    import torch

    from timeception.torch import TimeceptionLocalizer as TorchLocalizer

    theirs = TorchLocalizer.from_arrays(spec_of(), make_arrays(spec_of())).eval()
    theirs.save_pretrained(tmp_path)
    ours = TimeceptionLocalizer.from_pretrained(tmp_path)
    x = draw_input((2, 16, 11, 2, 2))
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(x)).numpy()
    assert_close(np.moveaxis(numpy_of(ours(channels_last(x))), -1, 1), expected)


def test_statistics_normalise_the_input() -> None:
    model = TimeceptionLocalizer.from_spec(spec_of())
    x = channels_last(draw_input((1, 16, 9, 1, 1)))
    expected = numpy_of(model((x - 2) / 4))
    actual = numpy_of(model.set_statistics(np.full(16, 2.0), np.full(16, 4.0))(x))
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    with pytest.raises(ValueError, match="std must be positive"):
        model.set_statistics(np.zeros(16), np.zeros(16))


def test_fit_trains_every_stage() -> None:
    """``fit`` of whole videos with one label per timestep."""
    keras.utils.set_random_seed(0)
    model = TimeceptionLocalizer(8, 2, n_layers=2, hidden=8, n_refinements=1, dropout=(0.0, 0.0))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (8, 4)).repeat(5, axis=1)
    x = rng.normal(0, 0.1, (8, 20, 1, 1, 8)).astype(np.float32)
    x[..., 0] += labels[:, :, None, None]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.build_for_spec()
    model.compile(keras.optimizers.Adam(0.01), loss)
    history = model.fit(x, labels, epochs=20, batch_size=4, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
