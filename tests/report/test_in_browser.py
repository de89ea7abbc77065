"""Reports in a browser: nothing is requested, nothing runs, and large ones open quickly."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.big import made_run
from tests.report.test_pages import ATTACK
from timeception.report.testing import write_test_report

playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    places = (os.environ.get("CHROMIUM"), "/usr/bin/chromium")
    found = next((place for place in places if place and Path(place).exists()), None)
    with playwright.sync_playwright() as started:
        if found is None and not Path(started.chromium.executable_path).exists():
            pytest.skip("no Chromium is installed")
        opened = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_works_offline(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    run = made_run(tmp_path, ("cut", "pour", ATTACK), 30, is_multilabel=True)
    write_test_report(run, tmp_path / "r.html")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append("a dialog: a script ran"))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto(f"file://{tmp_path / 'r.html'}")
    page.wait_for_selector(".chart svg")
    for chart in page.locator(".chart").all():
        chart.scroll_into_view_if_needed()
        chart.locator("svg").first.wait_for()
    page.select_option("select", index=2)
    page.locator("thead button").nth(1).focus()
    page.keyboard.press("Enter")
    counts = page.locator("table").first.locator("td:nth-child(2)").all_inner_texts()
    assert counts == sorted(counts, key=int, reverse=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.close()


def test_a_large_report_opens(browser: Any, tmp_path: Path) -> None:
    """Its size is checked; its time, generously, because other programs may run."""
    classes = tuple(f"class {number}" for number in range(157))
    run = made_run(tmp_path, classes, 2000, is_multilabel=True)
    write_test_report(run, tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < 10e6
    page = browser.new_page()
    began = time.monotonic()
    page.goto(f"file://{tmp_path / 'r.html'}")
    page.wait_for_selector(".chart svg")
    assert time.monotonic() - began < 10
    page.close()
