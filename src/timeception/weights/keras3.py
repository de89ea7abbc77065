"""Files of Keras 3, ``.keras`` and ``.weights.h5``, read and written without Keras.

A ``.weights.h5`` is an HDF5 file with a group per layer, named by the attributes that lead to the
layer; its variables are numbered under ``vars``. A ``.keras`` is a zip archive of such a file
(``model.weights.h5``), the configuration ``config.json`` and ``metadata.json``.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.weights.arrays import Named, check_shapes
from timeception.weights.layouts import from_keras, keras_layouts, to_keras
from timeception.weights.stored_specs import SPEC_KEY, dump_spec, infer_spec, load_spec

KerasSpec = ClassifierSpec | TimeceptionSpec

KERAS_VERSION = "3.15.1"  # the version whose format is written
WEIGHTS_MEMBER, CONFIG_MEMBER = "model.weights.h5", "config.json"

_NORM = ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
_LAYER_VARIABLES = (
    *("pointwise.weight", "pointwise.bias"),
    *(f"temporal.{branch}.weight" for branch in range(3)),
    *(f"temporal.{branch}.bias" for branch in range(3)),
)
#: The classifier's layers: the name in Keras, the path in a file, and the canonical arrays.
_HEAD = {
    "hidden": ("hidden", ("hidden.weight", "hidden.bias")),
    "norm": ("layers/batch_normalization", _NORM),
    "logits": ("layers/dense_1", ("output.weight", "output.bias")),
}
_REGISTERED = ("timeception>TimeceptionClassifier", "timeception>Timeception")
_DROPOUTS = ("dropout_before_hidden", "dropout_before_logits")
_STACK = re.compile(r"(?P<stack>(?:.*/)?)layers/timeception_layer(?:_(?P<index>\d+))?")


@dataclass(frozen=True)
class Keras3File:
    """The contents of a file of Keras 3.

    Args:
        spec: Spec of the classifier, or of the Timeception layers if there is no classifier.
        arrays: Arrays by canonical name.
        left_out: Unused layers: of a custom model that contains a ``Timeception``, all others.
        pipeline: The pipeline saved with a classifier.
    """

    spec: KerasSpec
    arrays: Named
    left_out: list[str]
    pipeline: dict[str, Any] | None = None


def is_keras3(path: Path) -> bool:
    """Whether an HDF5 file is a ``.weights.h5`` of Keras 3, by its content."""
    with h5py.File(path, "r") as file:
        return any(True for _ in _owners(file))


def read_keras3(path: Path) -> Keras3File:
    """Read a file of Keras 3 that holds a ``TimeceptionClassifier`` or a ``Timeception``.

    Unless this project wrote it, a ``.weights.h5`` stores neither the lookahead of branch 5 nor the
    epsilon, and the defaults are assumed.

    Raises:
        ValueError: If the file does not hold exactly one Timeception network.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read(CONFIG_MEMBER))
            with h5py.File(io.BytesIO(archive.read(WEIGHTS_MEMBER)), "r") as file:
                own = _own_config(config)
                contents = _read_weights(path, file, _spec_of(own) if own else None)
        return Keras3File(*contents, own.get("pipeline") if own else None)
    with h5py.File(path, "r") as file:
        stored = file.attrs.get(SPEC_KEY)
        return Keras3File(*_read_weights(path, file, load_spec(stored) if stored else None))


def write_keras3(
    path: Path,
    spec: KerasSpec,
    arrays: Mapping[str, np.ndarray],
    pipeline: Mapping[str, Any] | None = None,
) -> None:
    """Write canonical arrays in the format of Keras 3, ``*.keras`` or ``*.weights.h5``.

    A classifier becomes a ``TimeceptionClassifier``; Timeception layers become
    ``Sequential([Input((None, None, None, C)), Timeception(...)])``. The pipeline is saved with a
    classifier in a ``.keras``; a ``.weights.h5`` cannot hold it.
    """
    if path.name.endswith(".weights.h5"):
        with h5py.File(path, "w") as file:
            file.attrs[SPEC_KEY] = dump_spec(spec)
            _write_weights(file, spec, arrays)
        return
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        _write_weights(file, spec, arrays)
    metadata = {"keras_version": KERAS_VERSION, "date_saved": "1980-01-01@00:00:00"}
    members: dict[str, str | bytes] = {
        "metadata.json": json.dumps(metadata),
        CONFIG_MEMBER: json.dumps(_model_config(spec, pipeline)),
        WEIGHTS_MEMBER: content.getvalue(),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # no time: equal weights, equal bytes


def _owners(file: h5py.File) -> Iterator[tuple[str, str, list[np.ndarray]]]:
    """Yield the path, the name and the variables in order of every layer with variables."""
    names: list[str] = []
    file.visit(names.append)
    for path in names:
        group = file[path]
        if path.rpartition("/")[2] != "vars" or not isinstance(group, h5py.Group):
            continue
        values = [group[str(number)][()] for number in range(len(group))]
        owner = path.removesuffix("vars").rstrip("/")
        if values and not owner.startswith("optimizer") and not owner.endswith("seed_generator"):
            yield owner, str(group.attrs.get("name", "")), values


def _read_weights(
    path: Path, file: h5py.File, spec: KerasSpec | None
) -> tuple[KerasSpec, Named, list[str]]:
    owners = {owner: (name, values) for owner, name, values in _owners(file)}
    stacks = {m["stack"] for m in map(_STACK.fullmatch, owners) if m}
    if len(stacks) != 1:
        raise ValueError(
            f"{path} must hold one Timeception network of Keras 3; got {len(stacks)} "
            f"among {len(owners)} layers: {', '.join(sorted(owners)[:4])}, ..."
        )
    stack, used = stacks.pop(), set()
    named: Named = {}
    for owner, (_, values) in owners.items():
        layer = _STACK.fullmatch(owner.removesuffix("/norm"))
        if layer:
            used.add(owner)
            names = _NORM if owner.endswith("/norm") else _LAYER_VARIABLES
            prefix = f"layers.{layer['index'] or 0}."
            named |= {prefix + name: a for name, a in zip(names, values, strict=True)}
    head = {
        name: (owner, values)
        for owner, (name, values) in owners.items()
        if name in _HEAD and not owner.startswith(stack + "layers/timeception_layer")
    }
    if isinstance(spec, ClassifierSpec) or (spec is None and set(head) == set(_HEAD)):
        named = {f"timeception.{name}": array for name, array in named.items()}
        for name, (owner, values) in head.items():
            used.add(owner)
            named |= dict(zip(_HEAD[name][1], values, strict=True))
    if spec is None:  # Keras puts the inputs of kernels first
        kernels = {name: a.swapaxes(-1, -2) for name, a in named.items() if a.ndim > 1}
        kernels = {name: a.reshape(-1, a.shape[-1]) for name, a in kernels.items()}
        spec = infer_spec(named | kernels)
    shapes = {name: layout.keras for name, layout in keras_layouts(spec).items()}
    check_shapes(str(path), shapes, named)
    return spec, from_keras(spec, named), sorted(set(owners) - used)


def _write_weights(file: h5py.File, spec: KerasSpec, arrays: Mapping[str, np.ndarray]) -> None:
    laid_out = to_keras(spec, arrays)

    def put(owner: str, name: str, values: list[np.ndarray]) -> None:
        group = file.create_group(f"{owner}/vars")
        group.attrs["name"] = name
        for number, value in enumerate(values):
            group[str(number)] = np.ascontiguousarray(value)

    prefix = "timeception." if isinstance(spec, ClassifierSpec) else ""
    layers = spec.timeception if isinstance(spec, ClassifierSpec) else spec
    if isinstance(spec, ClassifierSpec):
        for name, (owner, names) in _HEAD.items():
            put(owner, name, [laid_out[canonical] for canonical in names])
        for name, rate in zip(_DROPOUTS, spec.dropout, strict=True):
            if rate:  # the state of its random number generator
                put(f"{name}/seed_generator", name, [np.zeros(2, np.uint32)])
    for index in range(layers.n_layers):
        name = f"timeception_layer_{index}" if index else "timeception_layer"
        owner, below = f"layers/timeception/layers/{name}", f"{prefix}layers.{index}."
        put(owner, name, [laid_out[below + leaf] for leaf in _LAYER_VARIABLES])
        put(f"{owner}/norm", "norm", [laid_out[below + leaf] for leaf in _NORM])


def _model_config(spec: KerasSpec, pipeline: Mapping[str, Any] | None) -> dict[str, Any]:
    """The configuration from which Keras builds the model."""
    if isinstance(spec, ClassifierSpec):
        fields = spec.to_dict()
        shape = [None, None, None, None, spec.timeception.in_channels]
        config = {**fields.pop("timeception"), **fields, "pipeline": pipeline}
        return _own("classifier", "TimeceptionClassifier", config, shape)
    shape = [None, None, None, None, spec.in_channels]
    source = {"module": "keras.layers", "class_name": "InputLayer"}
    layers = [
        {**source, "config": {"batch_shape": shape, "name": "features"}, "registered_name": None},
        _own("network", "Timeception", {"name": "timeception", **spec.to_dict()}, shape),
    ]
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "layers": layers, "build_input_shape": shape},
        "registered_name": None,
        "build_config": {"input_shape": shape},
    }


def _own(module: str, name: str, config: dict[str, Any], shape: list[int | None]) -> dict[str, Any]:
    return {
        "module": f"timeception.keras.{module}",
        "class_name": name,
        "config": config,
        "registered_name": f"timeception>{name}",
        "build_config": {"input_shape": shape},
    }


def _own_config(config: Any) -> dict[str, Any] | None:
    """Find the configuration of the classifier or the Timeception inside that of a model."""
    if isinstance(config, dict):
        if config.get("registered_name") in _REGISTERED:
            return dict(config["config"])
        config = list(config.values())
    if isinstance(config, list):
        return next(filter(None, map(_own_config, config)), None)
    return None


def _spec_of(config: Mapping[str, Any]) -> KerasSpec:
    """The spec in a configuration, which has the fields of both specs at one level."""
    own = {k: v for k, v in config.items() if k in TimeceptionSpec.__dataclass_fields__}
    if "n_classes" not in config:
        return TimeceptionSpec.from_dict(own)
    known = {k: v for k, v in config.items() if k in ClassifierSpec.__dataclass_fields__}
    return ClassifierSpec.from_dict({"timeception": own, **known})
