"""The spec of a bare weight file: stored under ``SPEC_KEY``, or inferred from the arrays.

The shapes of arrays determine neither the lookahead of branch 5 nor the epsilon, so files that this
project writes store the spec beside the arrays.
"""

from __future__ import annotations

import json
import re

from timeception import checks
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.weights.arrays import Named, few

SPEC_KEY = "timeception_spec"


def dump_spec(spec: ClassifierSpec | TimeceptionSpec) -> str:
    """Return the spec as JSON."""
    return json.dumps(spec.to_dict(), sort_keys=True)


def load_spec(text: str) -> ClassifierSpec | TimeceptionSpec:
    """Return the spec from the JSON of ``dump_spec``.

    Example:
        >>> load_spec(dump_spec(TimeceptionSpec(64, bn_eps=1e-5))).bn_eps
        1e-05
    """
    fields = json.loads(text)
    kind = ClassifierSpec if "timeception" in fields else TimeceptionSpec
    return kind.from_dict(fields)


def infer_spec(arrays: Named) -> ClassifierSpec | TimeceptionSpec:
    """Infer the spec from the shapes of canonical arrays, with the default expansion.

    Raises:
        ValueError: If a required array is missing or no spec matches.
    """
    prefix = "timeception." if any(k.startswith("timeception.") for k in arrays) else ""
    n_layers = len([k for k in arrays if re.fullmatch(rf"{prefix}layers\.\d+\.norm\.weight", k)])

    def shape(name: str) -> tuple[int, ...]:
        if name not in arrays:
            raise ValueError(f"the file has no array {name!r}; it has {few(arrays)}")
        return arrays[name].shape

    out_channels, group_channels = shape(f"{prefix}layers.0.pointwise.weight")
    branch_channels = int(group_channels * TimeceptionSpec.expansion / 5)
    n_groups = out_channels // max(1, 5 * branch_channels)
    layers = TimeceptionSpec(
        in_channels=n_groups * group_channels,
        n_layers=max(1, n_layers),
        n_groups=n_groups,
        is_dilated=shape(f"{prefix}layers.0.temporal.2.weight")[1] == 3,
    )
    if not prefix:
        return layers
    hidden, n_inputs = shape("hidden.weight")
    advice = "If the classifier has a map_size, read its saved-model folder or its .keras file, "
    advice += "which store height and width."
    must = f"have {layers.out_channels} inputs"
    checks.require(n_inputs == layers.out_channels, "hidden.weight", must, n_inputs, advice)
    return ClassifierSpec(layers, n_classes=shape("output.weight")[0], hidden=hidden)
