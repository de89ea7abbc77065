"""What reaches the server: no oversized uploads, no other sites, no other files."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from timeception.serving.limits import Limits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_OVERHEAD_BYTES = 100_000  # of a multipart form around the file
_JSON_BYTES = 1_000_000
_HEADERS = {
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """ASGI middleware before Gradio.

    It refuses requests of other web sites; uploads over the limit, or without a declared length;
    addresses that the server would fetch (``file=http://``, ``proxy=``); and JSON that names a file
    outside the folder of uploads, which a mounted Gradio application does not check by itself. It
    adds headers that keep the page from loading anything from elsewhere.

    Args:
        app: the application behind it.
        limits: the largest upload.
        folder: folder of uploads and results.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], limits: Limits, folder: Path) -> None:
        self._app, self._limits, self._folder = app, limits, folder.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            key.decode("latin-1").lower(): value.decode("latin-1")
            for key, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is None and scope["method"] == "POST" and not _is_form(headers):
            body = await _read(receive, _JSON_BYTES)
            receive = _replay(body, receive)
            if not self._has_only_uploads(body):
                await _answer(send, 403, "Files must be uploaded; no other file can be named.")
                return
        if refusal is not None:
            await _discard(receive, 2 * self._limits.max_bytes)
            await _answer(send, *refusal)
            return
        await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return 403, "Requests from other web sites are refused."
        path = unquote(unquote(scope["path"])).lower()
        name = path.partition("file=")[2]
        if "proxy=" in path or name.partition("/")[0].endswith(":"):
            return 403, "Addresses are not fetched."
        if ".." in name.split("/"):
            return 403, "Paths must not contain '..'."
        if "transfer-encoding" in headers:
            return 411, "Send the file with its length (Content-Length)."
        declared = headers.get("content-length", "0")
        limit = self._limits.max_bytes + _OVERHEAD_BYTES if _is_form(headers) else _JSON_BYTES
        if not declared.isdecimal() or int(declared) > limit:
            return 413, self._limits.too_large
        return None

    def _has_only_uploads(self, messages: list[Message]) -> bool:
        """Whether each file in a JSON body lies in the folder of uploads."""
        body = b"".join(message.get("body", b"") for message in messages)
        try:
            waiting = [json.loads(body or b"null")]
        except ValueError:
            return False
        while waiting:
            found = waiting.pop()
            if isinstance(found, dict):
                path = found.get("path")
                if isinstance(path, str) and not self._is_upload(path):
                    return False
                waiting += found.values()
            elif isinstance(found, list):
                waiting += found
        return True

    def _is_upload(self, path: str) -> bool:
        try:
            return Path(path).resolve().is_relative_to(self._folder)
        except (ValueError, OSError):  # such as a null character
            return False


def _is_form(headers: dict[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


async def _discard(receive: Receive, limit: int) -> None:
    """Read what is still sent, up to a limit: many clients read no answer before they have sent."""
    size = 0
    while size <= limit:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


async def _read(receive: Receive, limit: int) -> list[Message]:
    """Return the messages of a body whose declared length was checked."""
    messages, size = [], 0
    while size <= limit:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    return messages


def _replay(messages: list[Message], receive: Receive) -> Receive:
    waiting = iter(messages)

    async def replayed() -> Message:
        message = next(waiting, None)
        return await receive() if message is None else message

    return replayed


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(key.encode(), value.encode()) for key, value in _HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sent


async def _answer(send: Send, status: int, text: str) -> None:
    body = json.dumps({"error": text, "detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
