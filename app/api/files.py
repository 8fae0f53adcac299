"""Serving artifacts: by range, with flat memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api.etag import matches
from app.api.problem import problem
from app.artifacts import StoredFile

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `end` (exclusive) of a file."""

    start: int
    end: int


def asked_span(header: str | None, size: int) -> Span | None:
    """The one span that a `Range` header asks for, or None to send the whole file.

    Several ranges and malformed headers get the whole file, as RFC 9110 allows. Raises ValueError
    for a span outside the file.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise ValueError("outside the file")
    return Span(start, end)


def file_answer(
    request: Request, file: StoredFile, *, etag: str, headers: Mapping[str, str]
) -> Response:
    """The file, a span of it (206), 304 or 416. Takes over the file."""
    size = file.size
    quoted = f'"{etag}"'
    common = {
        "ETag": quoted,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
        **headers,
    }
    if matches(request.headers.get("if-none-match"), quoted):
        file.close()
        return Response(status_code=304, headers=common)
    asked = request.headers.get("range")
    if_range = request.headers.get("if-range")
    try:
        span = asked_span(asked, size) if if_range in (None, quoted) else None
    except ValueError:
        file.close()
        return problem(
            request,
            416,
            "range-not-satisfiable",
            f"The file has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    status = 200
    if span is None:
        span = Span(0, size)
    else:
        status = 206
        common["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    common["Content-Length"] = str(span.end - span.start)
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=common, media_type="application/octet-stream")
    return FileSpan(file, span, status, common)


class FileSpan(StreamingResponse):
    """Streams a span of an open file and closes it, however the request ends.

    While a piece is sent, the next one is read: two of them are in memory at most.
    """

    def __init__(
        self, file: StoredFile, span: Span, status: int, headers: Mapping[str, str]
    ) -> None:
        self._file = file
        self._reading: asyncio.Task[bytes] | None = None
        super().__init__(self._chunks(span), status, headers, "application/octet-stream")

    async def _chunks(self, span: Span) -> AsyncIterator[bytes]:
        at = span.start
        self._read(at, span)
        while self._reading is not None:
            chunk = await self._reading
            if not chunk:
                # Shorter than it was: the client sees a broken transfer, not a wrong file.
                raise OSError("the file was shortened while it was sent")
            at += len(chunk)
            self._read(at, span)
            yield chunk

    def _read(self, at: int, span: Span) -> None:
        count = min(self._file.piece_bytes, span.end - at)
        reading = anyio.to_thread.run_sync(self._file.read_at, at, count) if count else None
        self._reading = asyncio.create_task(reading) if reading else None

    async def __call__(self, scope, receive, send):  # type: ignore[no-untyped-def]
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._reading is not None:
                # Of a client that left: nobody wants the piece, but its file is still in use.
                await asyncio.gather(self._reading, return_exceptions=True)
            self._file.close()
