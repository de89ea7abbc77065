"""Fixtures that every test may use, and the rule that no golden is skipped where it can run."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from tests.tiny_data import clips, order_data  # noqa: F401 - fixtures of many tests

# A busy machine is no failure: properties are tested without regard to the clock.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# Where this module exists, TensorBoard does not import TensorFlow, which it would only do if that
# happens to be installed, for nothing that is used here.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))

#: What the source of a test module with goldens holds: the fixture, or a class that asks for it.
_SIGNS_OF_GOLDENS = ("shared", "GoldenContract")


def reference_folder() -> Path:
    """Where the reference figures and real data are, or would be: beside the project."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("TIMECEPTION_SHARED", beside))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference figures and real data beside the project; absent elsewhere.

    ``TIMECEPTION_SHARED`` names another place. A test that asks for it is a golden: where the
    folder exists, skipping the test is a failure.
    """
    folder = reference_folder()
    if not folder.is_dir():
        pytest.skip(f"the reference data is not here: {folder}")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a golden that is skipped, or expected to fail, though the reference data is here."""
    report = yield
    if report.skipped and is_golden(item) and reference_folder().is_dir():
        _fail(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module of goldens that is skipped as a whole."""
    report = yield
    is_module = isinstance(collector, pytest.Module)
    if report.skipped and is_module and reference_folder().is_dir():
        source = collector.path.read_text(encoding="utf-8")
        if any(sign in source for sign in _SIGNS_OF_GOLDENS):
            _fail(report, collector.nodeid)
    return report


def is_golden(item: pytest.Item) -> bool:
    """Whether a test compares with the reference data."""
    return "shared" in getattr(item, "fixturenames", ())


def _fail(report: pytest.TestReport | pytest.CollectReport, node: str) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    reason = getattr(report, "wasxfail", reason)
    vars(report).pop("wasxfail", None)
    report.outcome = "failed"
    report.longrepr = f"{node}: no golden may be skipped where {reference_folder()} is. {reason}"


@pytest.fixture(params=["torch", "keras"])
def framework(request: pytest.FixtureRequest) -> str:
    """Either framework that trains; Keras where it is installed."""
    if request.param == "keras":
        import_module("tests.keras")  # chooses the backend, or skips
    return str(request.param)
