"""A job's record: pages of events, and the live stream of the same events."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api.answers import EventAnswer, EventPage
from app.api.auth import reader
from app.api.etag import NOT_MODIFIED, cacheable
from app.api.parameters import JobId, StorableQuery, problems
from app.api.server import Server, ServerDep
from app.api.stream import frames
from app.jobs import read

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(reader), StorableQuery])

MAX_SEQ = 2**62
After = Annotated[int, Query(ge=0, le=MAX_SEQ, description="Only events with a larger `seq`")]


@router.get(
    "/{job_id}/events",
    summary="List a job's events",
    response_model=EventPage,
    responses={**NOT_MODIFIED, **problems(404)},
)
def list_events(
    request: Request,
    server: ServerDep,
    job_id: JobId,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Append-only, oldest first; go on with `after` = `next_after`."""
    with server.database.reading() as session:
        read.job(session, job_id)
        rows = read.events_after(session, job_id, after, limit + 1)
        items = [EventAnswer.model_validate(row) for row in rows]
    page = items[:limit]
    return cacheable(
        request,
        EventPage(
            items=page,
            next_after=page[-1].seq if page else after,
            has_more=len(items) > limit,
        ),
    )


@router.get(
    "/{job_id}/stream",
    summary="Follow a job's events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: `id` is the event's `seq`, `event` its type, "
            "`data` the event as in the list. Resumes after `Last-Event-ID`, ends with "
            "`event: end`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(404),
    },
)
async def stream_events(
    server: ServerDep,
    job_id: JobId,
    after: After = 0,
    last_event_id: Annotated[
        int | None,
        Header(alias="Last-Event-ID", ge=0, le=MAX_SEQ, description="Goes before `after`"),
    ] = None,
) -> StreamingResponse:
    """The same events as the list's, as they happen; a comment every 15 s keeps the line open."""
    await anyio.to_thread.run_sync(_require_job, server, job_id)
    start = after if last_event_id is None else last_event_id
    headers = {
        "Cache-Control": "no-cache",
        # nginx buffers streams otherwise, and nothing arrives for minutes.
        "X-Accel-Buffering": "no",
    }
    return StreamingResponse(
        frames(server, job_id, start), 200, headers, media_type="text/event-stream"
    )


def _require_job(server: Server, job_id: str) -> None:
    with server.database.reading() as session:
        read.job(session, job_id)
