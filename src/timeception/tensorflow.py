"""Timeception as a function of a tensor, as in 2019, and as a SavedModel.

To hold the weights yourself, use ``timeception.keras.Timeception``, which is callable on tensors.
"""

from __future__ import annotations

import timeception.import_order  # noqa: F401 - before TensorFlow

# isort: split
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from timeception import checks
from timeception.keras import Timeception, TimeceptionClassifier
from timeception.spec import KERAS_BN_EPS, KERAS_BN_MOMENTUM, TimeceptionSpec, channels_of
from timeception.spec.channels_last import LAYOUT

#: The networks of ``timeception_layers`` by name, as TensorFlow 1 kept variables by scope.
_networks: dict[str, Timeception] = {}


def timeception_layers(
    x: Any,
    n_layers: int = 4,
    n_groups: int = 8,
    is_dilated: bool = True,
    *,
    expansion: float = 1.25,
    pool_lookahead: bool = True,
    bn_eps: float = KERAS_BN_EPS,
    bn_momentum: float = KERAS_BN_MOMENTUM,
    training: bool | None = None,
    name: str = "timeception",
) -> Any:
    """Apply Timeception layers to a tensor.

    On a Keras tensor, every call creates a layer with new weights, which become part of the
    model. On a TensorFlow tensor, eager or inside ``tf.function``, weights are kept by name, as in
    ``tf.compat.v1.variable_scope(name, reuse=tf.compat.v1.AUTO_REUSE)``: the first call creates
    them and later calls reuse them. ``timeception_network(name)`` returns their network.

    Args:
        x: features; the number of channels must be known.
        n_layers: number of layers; each halves the number of timesteps.
        n_groups: channel groups; must divide the channels.
        is_dilated: as in ``timeception.keras.Timeception``.
        expansion: ratio of output to input channels of a layer.
        pool_lookahead: as in ``timeception.keras.Timeception``.
        bn_eps: epsilon of every batch normalisation.
        bn_momentum: as in ``timeception.keras.Timeception``.
        training: normalise by the batch; ``None`` is false, unless Keras is training.
        name: name of the layer, or of the weights.

    Shape:
        x: N, T, H, W, C with T >= 2 ** n_layers; result: N, T // 2 ** n_layers, H, W, C'.

    Raises:
        ValueError: if a number is out of range, the input does not fit, or ``name`` belongs to
            another network.

    Example:
        >>> tuple(timeception_layers(tf.zeros((1, 17, 2, 3, 80)), n_layers=2, name="doc").shape)
        (1, 4, 2, 3, 80)

    Source: the function form of 2019, ``nets.timeception.timeception_layers``.
    """
    channels = channels_of(x.shape, LAYOUT)
    constants = expansion, pool_lookahead, bn_eps, bn_momentum
    spec = TimeceptionSpec(channels, n_layers, n_groups, is_dilated, *constants)
    if isinstance(x, keras.KerasTensor):
        return Timeception.from_spec(spec, name=name)(x, training=training)
    return _network(name, spec)(x, training=training)


def timeception_network(name: str = "timeception") -> Timeception:
    """Return the network whose weights ``timeception_layers`` keeps under ``name``.

    Pass its ``trainable_variables`` to an optimiser, and the arrays of
    ``timeception.weights.read_checkpoint`` to its ``load_arrays``.

    Raises:
        ValueError: if no call has created it yet.
    """
    return _networks[checks.one_of("name", name, list(_networks))]


def save_saved_model(model: Timeception | TimeceptionClassifier, folder: str | Path) -> None:
    """Write a SavedModel, for plain TensorFlow or TensorFlow Serving.

    ``tf.saved_model.load(folder).serve(x)`` runs it in evaluation mode and needs neither Keras nor
    this package; the signature ``serving_default`` does the same. The numbers of clips and
    timesteps may vary, and so may the size of the map unless the model has a ``map_size``. A folder
    that exists is replaced.
    """
    _check_backend()
    model.build_for_spec()
    layers: Any = getattr(model.spec, "timeception", model.spec)
    size = getattr(model.spec, "map_size", None) or (None, None)
    shape = (None, None, *size, layers.in_channels)
    features = tf.TensorSpec(shape, model.compute_dtype, "features")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda x: model(x, training=False), input_signature=[features])
    archive.write_out(str(folder), verbose=False)


def _network(name: str, spec: TimeceptionSpec) -> Timeception:
    _check_backend()
    if name not in _networks:
        with tf.init_scope():  # weights must outlive the function being traced
            network = Timeception.from_spec(spec, name=name)
            network.build_for_spec()
        _networks[name] = network
    known = _networks[name]
    advice = f"The existing network has {known.spec}; this call requires {spec}."
    checks.require(known.spec == spec, "name", "belong to one network only", name, advice)
    return known


def _check_backend() -> None:
    backend, wanted = keras.backend.backend(), "tensorflow"
    requirement = f"be {wanted!r} for TensorFlow tensors and SavedModels"
    advice = "Set it before Keras is first imported."
    checks.require(backend == wanted, "KERAS_BACKEND", requirement, backend, advice)
