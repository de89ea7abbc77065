"""The served page in a browser, and attacks on the running server: ``make test-browser``.

They require Gradio, Playwright and a Chromium: ``CHROMIUM``, ``/usr/bin/chromium`` or Playwright's.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.serving.models import ATTACK, CLASSES, service

pytest.importorskip("gradio", reason="make test-browser installs it")
playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")

pytestmark = pytest.mark.filterwarnings("ignore")


class Server:
    """A server in a thread, and its uploads."""

    def __init__(self, folder: Path, examples: dict[str, Path]) -> None:
        import uvicorn

        from timeception.serving.server import build_app

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}"
        limits = {"max_megabytes": 0.5, "max_minutes": 0.1, "max_waiting": 10}
        self.service = service(**limits)
        app = build_app(self.service, "a page", examples, folder, "127.0.0.1")
        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error"))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.05)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    def request(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Send one request; the path is not normalised."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request("GET" if body is None else "POST", path, body, names)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post_file(self, path: str, data: bytes, field: str = "video", name: str = "v.mp4") -> Any:
        head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + b"\r\n--x--\r\n"
        status, text = self.request(path, body, content_type="multipart/form-data; boundary=x")
        return status, json.loads(text)


@pytest.fixture(scope="module")
def server(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("uploads")
    made = Server(folder, {"an example": clips / "left" / "0.mp4"})
    yield made
    made.stop()
    assert not folder.exists()  # everything is deleted at the end


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


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The page, which must not ask for anything elsewhere or report an error of a script."""
    opened = browser.new_page()
    requests: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("dialog", lambda dialog: errors.append("a dialog: a script ran"))
    opened.goto(server.url)
    opened.wait_for_selector("#score")
    yield opened
    opened.close()
    assert errors == []
    own = (server.url, "data:", "blob:")
    assert [url for url in requests if not url.startswith(own)] == []


def upload(page: Any, path: Path) -> None:
    page.set_input_files("#player input[type=file]", str(path))
    page.wait_for_selector("#player video")


def score(page: Any) -> None:
    page.click("#score")
    page.wait_for_selector("#timeline .tl")


def test_upload_timeline_and_downloads(page: Any, clips: Path) -> None:
    upload(page, clips / "left" / "0.mp4")
    score(page)
    player = "document.querySelector('#player video').currentTime"
    row = page.locator(".tl .row").first
    row.click(position={"x": row.bounding_box()["width"] * 0.75, "y": 4})
    page.wait_for_function(f"{player} > 1.2 && {player} < 1.8")
    button = page.locator(".tl-list button").first
    start = float(button.get_attribute("data-seconds"))
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"Math.abs({player} - {start}) < 0.1")
    for name, begin in (("JSON", "{"), ("CSV", "start_seconds"), ("WebVTT", "WEBVTT")):
        with page.expect_download() as download:
            page.click(f"#get-{name}")
        assert Path(download.value.path()).read_text().startswith(begin)
    assert page.locator("#timeline img, #timeline script, #classes script").count() == 0
    assert ATTACK in page.locator(".tl").inner_text() or ATTACK in page.content().replace(
        "&lt;", "<"
    ).replace("&gt;", ">")


def test_an_example(page: Any) -> None:
    page.click("input[aria-label=Example]")
    page.click("text=an example")
    page.wait_for_selector("#player video")
    score(page)


def test_a_script_in_a_file_name(page: Any, clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    path.write_bytes((clips / "left" / "0.mp4").read_bytes())
    upload(page, path)
    score(page)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"hello", "cannot be read as a video"), (b"\0" * 600_000, "exceeds|larger|maximum")],
)
def test_messages_for_people(page: Any, tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(data)
    page.set_input_files("#player input[type=file]", str(path))
    if len(data) < 1000:
        page.wait_for_selector("#player video")
        page.click("#score")
    page.wait_for_selector(f"text=/{message}/i")


def test_without_a_video(page: Any) -> None:
    page.click("#score")
    page.wait_for_selector("text=/Choose a video first/")


def test_five_users_at_once(browser: Any, server: Server, clips: Path) -> None:
    pages = [browser.new_page() for _ in range(5)]
    for opened in pages:
        opened.goto(server.url)
        opened.wait_for_selector("#score")
        upload(opened, clips / "right" / "1.mp4")
    for opened in pages:
        opened.click("#score")
    for opened in pages:
        opened.wait_for_selector("#timeline .tl")
        opened.close()


def test_the_api(server: Server, clips: Path) -> None:
    data = (clips / "left" / "0.mp4").read_bytes()
    status, answer = server.post_file("/api/score", data, name="../../<script>.mp4")
    assert status == 200 and set(answer["scores"]) == set(CLASSES)
    assert len(answer["timeline"]["scores"]) == 5
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: server.post_file("/api/score", data), range(5)))
    assert [status for status, _ in answers] == [200] * 5
    assert not list(server.folder.rglob("video"))  # deleted at once


@pytest.mark.parametrize(
    ("data", "field", "status", "message"),
    [
        (b"hello", "video", 422, "cannot be read as a video"),
        (b"", "video", 422, "cannot be read as a video"),
        (b"\0" * 700_000, "video", 413, "larger than 0.5 MB"),
        (b"x", "other", 422, "field video"),
    ],
)
def test_what_the_api_refuses(
    server: Server, data: bytes, field: str, status: int, message: str
) -> None:
    found, answer = server.post_file("/api/score", data, field)
    assert found == status and message in answer["error"]


def test_a_long_video_is_refused(server: Server, tmp_path: Path) -> None:
    import numpy as np

    from tests.tiny_data import square
    from timeception.datasets.synthetic.generate import write_mp4

    write_mp4(tmp_path / "v.mp4", [square(8, 8, np.zeros(3))] * 20, fps=1)
    found, answer = server.post_file("/api/score", (tmp_path / "v.mp4").read_bytes())
    assert found == 422 and "limit is 0.1" in answer["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=%2e%2e/%2e%2e/etc/passwd",
        f"/gradio_api/file={Path(__file__)}",
        "/gradio_api/file=pyproject.toml",
        "/gradio_api/file=http://127.0.0.1/",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/static/../../../../../../etc/passwd",
        "/assets/..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/../../etc/passwd",
    ],
)
def test_files_of_the_server_are_not_readable(server: Server, path: str) -> None:
    status, answer = server.request(path)
    assert status in (403, 404) and b"root:" not in answer and b"[project]" not in answer


@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1/x.mp4", str(Path(__file__))])
def test_no_other_file_can_be_scored(server: Server, path: str) -> None:
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for index in range(3):
        call = {"data": [file], "fn_index": index, "session_hash": "x"}
        body = json.dumps(call).encode()
        for place in ("/gradio_api/queue/join", "/gradio_api/run/predict"):
            assert server.request(place, body, content_type="application/json")[0] == 403


def test_other_sites_and_hosts_are_refused(server: Server) -> None:
    assert server.request("/", Host="evil.example")[0] == 400
    assert server.request("/api/score", b"x", Origin="http://evil.example")[0] == 403
