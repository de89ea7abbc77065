"""Fixtures that every test may use."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: properties are tested without regard to the clock.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# Where this module exists, TensorBoard does not import TensorFlow, which it would only do if that
# happens to be installed, for nothing that is used here.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference figures and real data beside the project; absent elsewhere.

    ``TIMECEPTION_SHARED`` names another place.
    """
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("TIMECEPTION_SHARED", beside))
    if not folder.is_dir():
        pytest.skip(f"the reference data is not here: {folder}")
    return folder


@pytest.fixture(params=["torch", "keras"])
def framework(request: pytest.FixtureRequest) -> str:
    """Either framework that trains; Keras where it is installed."""
    if request.param == "keras":
        import_module("tests.keras")  # chooses the backend, or skips
    return str(request.param)
