"""Importing the package, or a part that needs no framework, loads none."""

import subprocess
import sys

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
    "timeception.training.recipe",
    "timeception.cli",
)


@pytest.mark.parametrize("module", LIGHT)
def test_no_framework_is_loaded(module: str) -> None:
    program = f"import sys, {module}; print(*(set({FRAMEWORKS}) & set(sys.modules)))"
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stdout.split() == []
