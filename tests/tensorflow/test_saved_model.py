"""SavedModels, reloaded by a process that imports neither Keras nor this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests import oracle
from tests.contracts import assert_close, draw_input
from timeception.keras import Timeception, TimeceptionClassifier
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.tensorflow import save_saved_model

LAYERS = TimeceptionSpec(24, 2, 2, False, pool_lookahead=False)
X = np.ascontiguousarray(np.moveaxis(draw_input((3, 24, 9, 2, 3)), 1, -1))

RELOAD = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
x = np.load(sys.argv[2])
y = model.serve(x).numpy()
served = model.signatures["serving_default"](features=tf.constant(x))
assert all(np.array_equal(value, y) for value in served.values())
assert not any(name.startswith("timeception") for name in sys.modules)
np.save(sys.argv[3], y)
"""


def test_reloaded_in_plain_tensorflow(tmp_path: Path) -> None:
    spec = ClassifierSpec(LAYERS, 5, hidden=8)
    arrays = oracle.random_arrays(spec.parameter_shapes())
    save_saved_model(TimeceptionClassifier.from_arrays(spec, arrays), tmp_path / "saved")
    np.save(tmp_path / "x.npy", X)
    files = [str(tmp_path / name) for name in ("saved", "x.npy", "y.npy")]
    subprocess.run([sys.executable, "-c", RELOAD, *files], check=True, cwd=tmp_path)
    expected = oracle.logits(spec, arrays, np.moveaxis(X, -1, 1))
    assert_close(np.load(tmp_path / "y.npy"), expected)


def test_layers_alone_with_any_size(tmp_path: Path) -> None:
    network = Timeception.from_spec(LAYERS)
    save_saved_model(network, tmp_path)
    model = tf.saved_model.load(tmp_path)
    for x in (X, X[:1, :5, :1]):
        assert_close(model.serve(x).numpy(), network(x).numpy(), 1e-5)


def test_the_map_size_is_fixed(tmp_path: Path) -> None:
    spec = ClassifierSpec(LAYERS, 5, hidden=8, map_size=(2, 3))
    model = TimeceptionClassifier.from_spec(spec)
    save_saved_model(model, tmp_path)
    saved = tf.saved_model.load(tmp_path)
    assert_close(saved.serve(X).numpy(), model(X).numpy(), 1e-5)
    with pytest.raises(TypeError, match="shape"):
        saved.serve(X[:, :, :1])
