"""The guard before the page: what it refuses, and what it lets through."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from timeception.serving.guard import Guard
from timeception.serving.limits import Limits

LIMITS = Limits(max_megabytes=1)
FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json"}


def request(
    folder: Path, path: str = "/", headers: dict[str, str] | None = None, body: bytes = b""
) -> tuple[int, bytes, bytes]:
    """Return the status, the answer, and the body that reached the application (or b"none")."""
    seen, sent = [b"none"], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen[0] = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "localhost:1", "content-length": str(len(body)), **(headers or {})}
    scope = {
        "type": "http",
        "method": "POST" if body else "GET",
        "path": path,
        "headers": [(key.encode(), value.encode()) for key, value in given.items()],
    }
    asyncio.run(Guard(app, LIMITS, folder)(scope, receive, send))
    answer = b"".join(message.get("body", b"") for message in sent)
    names = dict(sent[0]["headers"])
    assert sent[0]["status"] != 200 or b"default-src 'self'" in names[b"content-security-policy"]
    return sent[0]["status"], answer, seen[0]


@pytest.mark.parametrize(
    ("path", "headers", "status", "message"),
    [
        ("/", {"origin": "http://evil.example"}, 403, "other web sites"),
        ("/", {"origin": "http://localhost:1"}, 200, "fine"),
        ("/", {"origin": "null"}, 403, "other web sites"),
        ("/gradio_api/file=http://example.com/x", {}, 403, "Addresses"),
        ("/gradio_api/file=HTTP:/example.com/x", {}, 403, "Addresses"),
        ("/gradio_api/file=%68ttp%3A//example.com", {}, 403, "Addresses"),
        ("/gradio_api/proxy=http://example.com", {}, 403, "Addresses"),
        ("/gradio_api/file=../../etc/passwd", {}, 403, "'..'"),
        ("/gradio_api/file=%2e%2e/etc/passwd", {}, 403, "'..'"),
        ("/gradio_api/file=/tmp/a.mp4", {}, 200, "fine"),
        ("/", {**FORM, "content-length": "1100001"}, 413, "larger than 1 MB"),
        ("/", {**FORM, "content-length": "1000001"}, 200, "fine"),
        ("/", {**FORM, "content-length": "-1"}, 413, "larger"),
        ("/", {**FORM, "transfer-encoding": "chunked"}, 411, "Content-Length"),
        ("/", {**JSON, "content-length": "1000001"}, 413, "larger"),
    ],
)
def test_requests(
    tmp_path: Path, path: str, headers: dict[str, str], status: int, message: str
) -> None:
    found, answer, seen = request(tmp_path, path, headers)
    assert (found, seen == b"none") == (status, status != 200)
    assert message in answer.decode()


def test_refused_bodies_are_read_first(tmp_path: Path) -> None:
    """A client that is still sending would otherwise see a broken pipe instead of the message."""
    parts = [{"type": "http.request", "body": b"x" * 1000, "more_body": n < 4} for n in range(5)]
    left = list(parts)

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    async def send(message: Any) -> None:
        assert not left

    headers = [(b"origin", b"http://evil.example"), (b"host", b"localhost:1")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(Guard(None, LIMITS, tmp_path)(scope, receive, send))  # type: ignore[arg-type]
    assert left == []


@pytest.mark.parametrize("kind", [JSON, {"content-type": "text/plain"}, {}])
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "http://example.com/x.mp4", "{folder}/../x", "\0", "x.mp4"]
)
def test_json_cannot_name_other_files(tmp_path: Path, path: str, kind: dict[str, str]) -> None:
    file = {"path": path.format(folder=tmp_path), "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [[{"video": file}]]}).encode()
    assert request(tmp_path, headers=kind, body=body)[0] == 403


def test_uploads_can_be_named_and_reach_the_application(tmp_path: Path) -> None:
    body = json.dumps({"data": [{"path": str(tmp_path / "a" / "x.mp4")}]}).encode()
    assert request(tmp_path, headers=JSON, body=body) == (200, b"fine", body)
    assert request(tmp_path, headers=JSON, body=b"no json")[0] == 403
