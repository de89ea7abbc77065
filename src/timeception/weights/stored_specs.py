"""The spec inside a bare weight file, under ``SPEC_KEY``.

The shapes of arrays determine neither the lookahead of branch 5 nor the epsilon, so files that this
project writes store the spec beside the arrays.
"""

from __future__ import annotations

import json

from timeception.spec import ClassifierSpec, TimeceptionSpec

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
