"""All frameworks that are installed compute one function, and its gradients."""

from __future__ import annotations

import pytest

from tests import agreement
from tests.contracts import Arrays


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Arrays]:
    folder = tmp_path_factory.mktemp("agreement")
    return {
        name: agreement.run_in_its_process(name, folder / f"{name}.npz")
        for name in agreement.installed()
    }


@pytest.fixture(scope="module")
def features() -> Arrays:
    return agreement.expected_features()


@pytest.mark.slow
@pytest.mark.parametrize("framework", agreement.FRAMEWORKS)
def test_agreement(framework: str, results: dict[str, Arrays], features: Arrays) -> None:
    if framework not in results:
        pytest.skip(f"{framework} is not installed")
    found = list(agreement.errors(framework, results, features))
    assert len(found) >= len(agreement.FEATURES)
    assert {case: error for case, error, bound in found if error > bound} == {}
