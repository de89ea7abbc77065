"""Importing the package, or a part that needs no framework, loads none."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "lightning", "timm", "torchvision")
LIGHT = (
    "timeception",
    "timeception.spec",
    "timeception.checks",
    "timeception.weights",
    "timeception.datasets",
    "timeception.features",
    "timeception.metrics",
    "timeception.video.sampling",
    "timeception.recipes.recipe",
    "timeception.cli",
)


@pytest.mark.parametrize("module", LIGHT)
def test_no_framework_is_loaded(module: str) -> None:
    program = f"import sys, {module}; print(*(set({FRAMEWORKS}) & set(sys.modules)))"
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stdout.split() == []


@pytest.mark.skipif(
    not all(map(find_spec, ("keras", "tensorflow", "torchvision"))), reason="needs both families"
)
@pytest.mark.parametrize("module", ["timeception.keras", "timeception.tensorflow"])
def test_pytorchs_family_may_follow_tensorflow(module: str) -> None:
    """Without import_order the process ends by a segmentation fault, where Triton is installed."""
    program = f"import {module}, sys; assert 'tensorflow' in sys.modules; import torchvision"
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert made.returncode == 0, made.stderr
