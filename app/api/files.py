"""Serving files under the artifacts folder: contained, by range, with flat memory."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api.etag import matches
from app.api.problem import problem

CHUNK_BYTES = 512 * 1024
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")


class MissingFileError(Exception):
    """The file is not there, is not a plain file, or does not lie inside the folder."""


def open_inside(folder: Path, relative: str) -> int:
    """A descriptor of `folder/relative` for reading. Raises MissingFileError.

    The path is resolved before it is opened, and the last part is opened without following a
    link, so that nothing a trainer leaves in its folder can lead out of it.
    """
    root = os.path.realpath(folder)
    path = os.path.normpath(os.path.join(root, relative))
    if os.path.realpath(path) != path or not path.startswith(root + os.sep):
        raise MissingFileError(relative)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MissingFileError(relative) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MissingFileError(relative)
    return descriptor


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
    request: Request, descriptor: int, *, etag: str, headers: Mapping[str, str]
) -> Response:
    """The file, a span of it (206), 304 or 416. Takes over the descriptor."""
    size = os.fstat(descriptor).st_size
    quoted = f'"{etag}"'
    common = {
        "ETag": quoted,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
        **headers,
    }
    if matches(request.headers.get("if-none-match"), quoted):
        os.close(descriptor)
        return Response(status_code=304, headers=common)
    asked = request.headers.get("range")
    if_range = request.headers.get("if-range")
    try:
        span = asked_span(asked, size) if if_range in (None, quoted) else None
    except ValueError:
        os.close(descriptor)
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
        os.close(descriptor)
        return Response(status_code=status, headers=common, media_type="application/octet-stream")
    return FileSpan(descriptor, span, status, common)


class FileSpan(StreamingResponse):
    """Streams a span of an open file and closes it, however the request ends."""

    def __init__(
        self, descriptor: int, span: Span, status: int, headers: Mapping[str, str]
    ) -> None:
        self._descriptor = descriptor
        super().__init__(self._chunks(span), status, headers, "application/octet-stream")

    async def _chunks(self, span: Span) -> AsyncIterator[bytes]:
        at = span.start
        while at < span.end:
            count = min(CHUNK_BYTES, span.end - at)
            chunk = await anyio.to_thread.run_sync(os.pread, self._descriptor, count, at)
            if not chunk:
                # Shorter than it was: the client sees a broken transfer, not a wrong file.
                raise OSError("the file was shortened while it was sent")
            yield chunk
            at += len(chunk)

    async def __call__(self, scope, receive, send):  # type: ignore[no-untyped-def]
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)
