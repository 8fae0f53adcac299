"""GET /v1/jobs/{id}/logs: pieces of the trainer's log by byte offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from app.api.auth import reader
from app.api.errors import QueryError
from app.api.parameters import JobId, StorableQuery, problems
from app.api.server import ServerDep
from app.artifacts import MissingFileError, StoredFile
from app.jobs import read
from gogooku3.config import Problem

MAX_BYTES = 1024 * 1024

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(reader), StorableQuery])


@dataclass(frozen=True)
class LogPiece:
    """Bytes `start` to `end` of a log of `size` bytes."""

    content: bytes
    start: int
    size: int

    @property
    def end(self) -> int:
        """Where to go on reading."""
        return self.start + len(self.content)


@router.get(
    "/{job_id}/logs",
    summary="Read a piece of the trainer's log",
    response_class=Response,
    responses={
        200: {
            "description": "Text; the headers say which bytes it is",
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "headers": {
                name: {"description": text, "schema": {"type": "integer"}}
                for name, text in (
                    ("X-Log-Start", "Offset of the first byte"),
                    ("X-Log-End", "Offset after the last byte: `after` of the next call"),
                    ("X-Log-Size", "Bytes in the log by now"),
                )
            },
        },
        **problems(404),
    },
)
def get_logs(
    server: ServerDep,
    job_id: JobId,
    after: Annotated[int | None, Query(ge=0, le=2**62, description="Start at this byte")] = None,
    tail: Annotated[
        int | None, Query(ge=1, le=100_000, description="The last lines, as many as fit")
    ] = None,
    limit_bytes: Annotated[int, Query(ge=1, le=MAX_BYTES)] = MAX_BYTES,
) -> Response:
    """Start at `after` (default 0), or take the last `tail` lines; never more than 1 MiB."""
    if after is not None and tail is not None:
        message = "give `after` or `tail`, not both"
        raise QueryError([Problem("/query/tail", "exclusive", message)])
    with server.database.reading() as session:
        read.job(session, job_id)
    piece = LogPiece(b"", after or 0, 0)
    try:
        file = server.artifacts.open(f"{job_id}/log.txt")
    except MissingFileError:
        # The job has not been started yet.
        return _answer(piece)
    try:
        if tail is not None:
            piece = tail_of(file, tail, limit_bytes)
        else:
            piece = piece_of(file, after or 0, limit_bytes)
    finally:
        file.close()
    return _answer(piece)


def piece_of(file: StoredFile, after: int, limit: int) -> LogPiece:
    """At most `limit` bytes from `after`, ending between two characters."""
    content = file.read_at(after, limit) if after < file.size else b""
    return LogPiece(_whole_characters(content), after, file.size)


def tail_of(file: StoredFile, lines: int, limit: int) -> LogPiece:
    """The last `lines` lines, as many of them as fit into `limit` bytes."""
    start = max(0, file.size - limit)
    content = file.read_at(start, file.size - start)
    if start:
        # The first line is cut: leave its rest out, unless it is all there is.
        cut = content.find(b"\n", 0, len(content) - 1) + 1
        start, content = start + cut, content[cut:]
    kept = content.splitlines(keepends=True)[-lines:]
    content = b"".join(kept)
    return LogPiece(content, file.size - len(content), file.size)


def _whole_characters(content: bytes) -> bytes:
    """`content` without the start of a UTF-8 character whose rest is missing."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        # A whole piece is never given up, or a reader with a tiny limit would not advance.
        return content[:-back] if length > back and len(content) > back else content
    return content


def _answer(piece: LogPiece) -> Response:
    headers = {
        "X-Log-Start": str(piece.start),
        "X-Log-End": str(piece.end),
        "X-Log-Size": str(piece.size),
        "Cache-Control": "no-store",
        # The trainer prints what it likes: no browser may take it for a page.
        "X-Content-Type-Options": "nosniff",
    }
    return Response(piece.content, 200, headers, media_type="text/plain; charset=utf-8")
