"""The plain JAX network as pure functions of a pytree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from tests.contracts import assert_close, draw_input
from tests.jax.adapter import apply_compiled, channels_last
from timeception.jax import (
    Params,
    apply,
    apply_training,
    from_pretrained,
    init,
    load,
    save_pretrained,
)
from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec, is_trainable
from timeception.weights import write_folder

LAYERS = TimeceptionSpec(24, 1, 2, False, pool_lookahead=False)
SPEC = ClassifierSpec(LAYERS, 3, hidden=8)
SHAPE = (3, 24, 7, 2, 1)


@pytest.fixture(scope="module")
def params() -> Params:
    return Params(SPEC, oracle.random_arrays(SPEC.parameter_shapes()))


def clips(*shape: int) -> np.ndarray:
    return channels_last(draw_input(shape))


def test_vmap_over_clips_and_over_networks(params: Params) -> None:
    x = clips(*SHAPE)
    expected = np.asarray(apply_compiled(params, x))
    alone = jax.jit(jax.vmap(lambda clip: apply(params, clip[None])[0]))(x)
    assert_close(np.asarray(alone), expected, 1e-5)
    other = Params(SPEC, {name: 0.5 * array for name, array in params.to_arrays().items()})
    both = jax.tree.map(lambda *arrays: np.stack(arrays), params, other)
    together = jax.jit(jax.vmap(apply, (0, None)))(both, x)
    assert_close(np.asarray(together[0]), expected, 1e-5)
    assert_close(np.asarray(together[1]), np.asarray(apply_compiled(other, x)), 1e-5)


def test_params_are_a_pytree(params: Params) -> None:
    leaves, structure = jax.tree.flatten(params)
    again = jax.tree.unflatten(structure, leaves)
    assert (again.spec, list(again)) == (SPEC, list(SPEC.parameter_shapes()))
    assert all(again[name] is params[name] for name in params)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    assert paths[0] == "['timeception.layers.0.pointwise.weight']"
    other = Params(LAYERS, oracle.random_arrays(LAYERS.parameter_shapes()))
    assert jax.tree.structure(other) != structure
    assert repr(other) == f"Params({LAYERS}, 12 arrays)"


def test_params_must_fit_the_spec(params: Params) -> None:
    arrays = params.to_arrays()
    with pytest.raises(ValueError, match=r"unexpected: extra"):
        Params(SPEC, arrays | {"extra": np.zeros(1)})
    with pytest.raises(ValueError, match=r"output\.bias: \(4,\) received, \(3,\) expected"):
        params.replace({"output.bias": jnp.zeros(4)})


def test_gradients_leave_the_moving_statistics_alone(params: Params) -> None:
    @jax.jit
    def gradients(params: Params) -> Params:
        def loss(params: Params) -> jax.Array:
            return (apply_training(params, clips(*SHAPE), jax.random.key(0))[0] ** 2).sum()

        return jax.grad(loss)(params)

    for name, gradient in gradients(params).items():
        # a constant of every channel is what normalisation by the batch takes away
        moves = is_trainable(name) and not ("temporal" in name and name.endswith("bias"))
        assert bool(jnp.any(gradient != 0)) == moves, name


def test_training_equals_the_oracle(params: Params) -> None:
    spec = ClassifierSpec(LAYERS, 3, hidden=8, dropout=(0, 0))
    y, moved = jax.jit(apply_training)(Params(spec, params), clips(*SHAPE))
    assert_close(
        np.asarray(y),
        oracle.logits(spec, params.to_arrays(), draw_input(SHAPE), training=True),
        1e-3,
    )
    assert not np.array_equal(moved["norm.running_mean"], params["norm.running_mean"])
    assert np.array_equal(moved["norm.weight"], params["norm.weight"])


def test_dropout_draws_from_its_key(params: Params) -> None:
    run, x = jax.jit(apply_training), clips(*SHAPE)
    first, again, other = (run(params, x, jax.random.key(seed))[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(ValueError, match="key must be given, since the classifier has dropout"):
        jax.eval_shape(apply_training, params, x)


def test_dropout_keeps_the_mean() -> None:
    from timeception.jax.network import _dropout

    y = _dropout(jax.random.key(0))(jnp.ones(20_000), 0.25)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert float(y.mean()) == pytest.approx(1, abs=0.02)


def test_one_folder_for_all_frameworks(params: Params, tmp_path: Path) -> None:
    save_pretrained(params, tmp_path / "model", {"classes": ["a"]})
    for again in (from_pretrained(tmp_path / "model"), load(tmp_path / "model")):
        assert again.spec == SPEC
        assert all(np.array_equal(again[name], params[name]) for name in params)


def test_only_classifiers_become_folders(tmp_path: Path) -> None:
    layers = Params(LAYERS, oracle.random_arrays(LAYERS.parameter_shapes()))
    with pytest.raises(ValueError, match="params must belong to a classifier; got Params"):
        save_pretrained(layers, tmp_path)
    spec = PoolingSpec(6, 2, hidden=3)
    write_folder(tmp_path, spec, oracle.random_arrays(spec.parameter_shapes()))
    with pytest.raises(ValueError, match="hold a TimeceptionClassifier; got 'PoolingSpec'"):
        from_pretrained(tmp_path)


def test_the_published_network() -> None:
    shapes = jax.eval_shape(lambda key: init(TimeceptionSpec(1024), key), jax.random.key(0))
    assert sum(array.size for array in jax.tree.leaves(shapes)) == 1_494_304
    x = jax.ShapeDtypeStruct((1, 128, 7, 7, 1024), jnp.float32)
    assert jax.eval_shape(apply, shapes, x).shape == (1, 8, 7, 7, 2480)


def test_half_precision(params: Params) -> None:
    x = clips(*SHAPE)

    @jax.jit
    def run(params: Params, x: jax.Array) -> jax.Array:
        return apply(*jax.tree.map(lambda array: array.astype(jnp.bfloat16), (params, x)))

    y = run(params, x)
    assert y.dtype == jnp.bfloat16
    assert_close(np.asarray(y, np.float32), np.asarray(apply_compiled(params, x)), 0.2)


def test_a_map_of_another_size() -> None:
    spec = ClassifierSpec(LAYERS, 3, hidden=8, map_size=(2, 3))
    params = Params(spec, oracle.random_arrays(spec.parameter_shapes()))
    with pytest.raises(ValueError, match=r"maps of map_size=\(2, 3\) .* got \(2, 1\)"):
        jax.eval_shape(apply, params, clips(*SHAPE))


def test_no_keras_is_loaded() -> None:
    code = (
        "import sys, timeception.jax; "
        "loaded = {'keras', 'tensorflow', 'torch'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
