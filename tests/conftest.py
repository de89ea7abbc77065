"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
