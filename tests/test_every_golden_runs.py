"""Where the reference data is, all of it is compared with: nothing is left out unnoticed."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests import goldens
from tests.conftest import is_golden, reference_folder

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parent
#: Goldens of each module; the four networks of 2019 run in every implementation.
EXPECTED = {
    "backbones/test_i3d.py": 2,
    "backbones/test_r3d.py": 3,
    "backbones/test_resnet2d.py": 1,
    "features/test_importing.py": 1,
    "jax/test_contract.py": 4,
    "keras/test_contract.py": 4,
    "tensorflow/test_contract.py": 4,
    "test_moving_from_2019.py": 1,
    "torch/test_native.py": 12,
    "video/test_decoder_files.py": 18,
    "weights/test_goldens.py": 13,
}


def test_every_recorded_network_of_2019_is_a_case(shared: Path) -> None:
    recorded = {path.stem for path in (shared / "reference").glob("timeception_*.npz")}
    assert recorded == {f"timeception_{case}" for case in goldens.CASES}


def test_every_recorded_backbone_is_loaded(shared: Path) -> None:
    recorded = {path.stem for path in (shared / "reference").glob("*.json")}
    sources = "".join(path.read_text() for path in (TESTS / "backbones").glob("test_*.py"))
    loaded = set(re.findall(r'Golden\.load\(shared, "(\w+)"\)', sources))
    assert loaded == recorded


def test_every_golden_is_collected(request: pytest.FixtureRequest) -> None:
    """In a run of all tests, as ``make test`` is."""
    config = request.config
    roots = {(config.rootpath / argument).resolve() for argument in config.args}
    wanted = {(config.rootpath / folder).resolve() for folder in config.getini("testpaths")}
    narrowed = config.option.keyword or config.option.markexpr or config.option.deselect
    if roots != wanted or narrowed or not reference_folder().is_dir():
        pytest.skip("some tests alone run, or the reference data is not here")
    items = request.session.items
    found = Counter(
        item.path.relative_to(TESTS).as_posix()
        for item in items
        if is_golden(item) and item.path != Path(__file__)
    )
    assert dict(found) == EXPECTED


def test_all_tests_are_run_by_make() -> None:
    """No line of ``make test`` leaves tests out."""
    makefile = (TESTS.parent / "Makefile").read_text()
    recipe = re.search(r"(?m)^test:.*\n((?:\t.*\n)+)", makefile)
    assert recipe is not None
    lines = [line for line in recipe[1].splitlines() if "pytest" in line]
    assert lines[0].endswith("pytest $(PYTEST)")
    assert not re.search(r"\s(-k|-m\s+(?!pytest)|--deselect|--ignore)", recipe[1])
    assert re.search(r"(?m)^PYTEST \?= -q -n 2 --dist worksteal$", makefile)


CONFTEST = (TESTS / "conftest.py").read_text()
SKIPPED = {
    "by a mark": "@pytest.mark.skip(reason='later')\ndef test_golden(shared): pass",
    "by a condition": "@pytest.mark.skipif(True, reason='later')\ndef test_golden(shared): pass",
    "in the test": "def test_golden(shared): pytest.skip('later')",
    "in a fixture": "@pytest.fixture\ndef more(shared): pytest.skip('later')\n"
    "def test_golden(more): pass",
    "as a known failure": "@pytest.mark.xfail(reason='later')\ndef test_golden(shared): assert 0",
    "with its module": "pytest.importorskip('no_such_module', reason='later')\n"
    "def test_golden(shared): pass",
}


@pytest.mark.parametrize("case", SKIPPED)
@pytest.mark.parametrize("is_here", [True, False])
def test_a_golden_that_is_skipped(
    case: str, is_here: bool, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails where the reference data is, and says why; it is skipped elsewhere."""
    folder = pytester.mkdir("reference") if is_here else pytester.path / "nowhere"
    monkeypatch.setenv("TIMECEPTION_SHARED", str(folder))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(f"import pytest\n{SKIPPED[case]}\n\ndef test_other(): pytest.skip('fine')")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rs")
    if is_here:
        assert result.ret != 0
        result.stdout.fnmatch_lines(["*no golden may be skipped where*later*"])
    else:
        assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def test_a_golden_that_runs_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMECEPTION_SHARED", str(pytester.mkdir("reference")))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        "import pytest\ndef test_golden(shared): pass\ndef test_other(): pytest.skip('fine')"
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, skipped=1)
