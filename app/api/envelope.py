"""What surrounds every request: its identifier and trail, the size limit of its body, the headers
that protect browsers, the log line, and the answer to a defect of ours."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problem import problem
from app.db.trail import Trail, follow
from app.domain import new_id

MAX_BODY_BYTES = 1024 * 1024
CLIENT_LEFT = 499
"""Logged for a request whose client went away before its body was read."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PROTECTION = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""Data is no page: a browser that takes it for one finds nothing to run."""
_PAGES = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_USABLE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_JOB_IN_PATH = re.compile(r"/jobs/(job_[0-9a-z]+)")

log = logging.getLogger("gogooku3.api")


class Envelope:
    """The outermost layer, plain ASGI so that streams pass through untouched."""

    def __init__(self, app: ASGIApp, answered: Callable[[Scope, int, float], None]) -> None:
        """`answered` is told of every request: its scope, the status and the seconds it took."""
        self._app = app
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        given = Headers(scope=scope)
        identifier = _identifier(given.get("x-request-id"))
        scope["gogooku3.request_id"] = identifier
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = identifier
                protect(headers)
            await send(message)

        request = Request(scope)
        trail = Trail(
            identifier,
            address=request.client.host if request.client else None,
            is_change=scope["method"] not in _SAFE,
        )
        try:
            if _declared_bytes(given) > MAX_BODY_BYTES:
                raise body_too_large()
            with follow(trail):
                await self._app(scope, _limited(receive), send_marked)
        except HTTPException as error:
            answer = problem(request, error.status_code, "body-too-large", error.detail)
            await answer(scope, receive, send_marked)
        except ClientDisconnect:
            status = CLIENT_LEFT
        except Exception:
            log.exception("unhandled error", extra={"request_id": identifier})
            if status:
                raise
            answer = problem(
                request,
                500,
                "internal-error",
                "The server failed to answer; its log has the reason under this request id.",
            )
            await answer(scope, receive, send_marked)
        finally:
            seconds = time.monotonic() - started
            self._answered(scope, status, seconds)
            _log_line(scope, trail, status, seconds)


def protect(headers: MutableHeaders) -> None:
    """Tell browsers what not to do with the answer; a page that needs more says so itself."""
    is_page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", _PAGES if is_page else _NOTHING)
    for name, value in _PROTECTION.items():
        headers.setdefault(name, value)


def body_too_large() -> HTTPException:
    """What is raised for a body over the limit."""
    return HTTPException(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")


def _limited(receive: Receive) -> Receive:
    total = 0

    async def receive_limited() -> Message:
        nonlocal total
        message = await receive()
        if message["type"] == "http.request":
            total += len(message.get("body", b""))
            if total > MAX_BODY_BYTES:
                raise body_too_large()
        return message

    return receive_limited


def _declared_bytes(headers: Headers) -> int:
    declared = headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


def _identifier(given: str | None) -> str:
    if given is not None and _USABLE_ID.fullmatch(given):
        return given
    return new_id("req")


def _log_line(scope: Scope, trail: Trail, status: int, seconds: float) -> None:
    path = scope["path"]
    in_path = _JOB_IN_PATH.search(path)
    fields = {
        "request_id": trail.request_id,
        "actor": trail.actor,
        "address": trail.address,
        "job_id": in_path.group(1) if in_path else None,
        "method": scope["method"],
        "path": path,
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
    }
    log.info("request", extra={name: value for name, value in fields.items() if value is not None})
