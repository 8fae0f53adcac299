"""The queue: what waits and why, and changing its order."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api.answers import JobAnswer
from app.api.auth import reader, submitter
from app.api.body import RawBody, checked, parse
from app.api.etag import NOT_MODIFIED, cacheable
from app.api.fleet_answers import QueueAnswer, QueueItem, WaitReason
from app.api.openapi import body_of
from app.api.parameters import StorableQuery, problems
from app.api.requests import QueueMove
from app.api.server import ServerDep
from app.domain import InvalidSpecError
from app.jobs import queue
from app.jobs.move import move
from gogooku3.config import check

router = APIRouter(prefix="/v1/queue", tags=["operations"])
MOVE_BODY = body_of("QueueMove", {"job": "job_01k8z3v8m4e9c2r7t5w6x0y1za", "front": True})


@router.get(
    "",
    summary="Look at the queue",
    response_model=QueueAnswer,
    dependencies=[Depends(reader), StorableQuery],
    responses={**NOT_MODIFIED, **problems()},
)
def get_queue(
    request: Request,
    server: ServerDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="Queued jobs to show")] = 100,
) -> Response:
    """The first jobs in the order in which they are taken, each with the reason why it waits, then
    the paused ones. Starts are estimated by playing the queue forward with measured durations."""
    with server.database.session() as session:
        found = queue.look(session, limit)
        items = [_item(waiting) for waiting in found.items]
    answer = QueueAnswer(
        items=items, queued=found.queued, paused=found.paused, running=found.running
    )
    return cacheable(request, answer)


@router.post(
    "/move",
    summary="Move a job in the queue",
    response_model=JobAnswer,
    openapi_extra=MOVE_BODY,
    dependencies=[Depends(submitter), StorableQuery],
    responses=problems(400, 404, 409, 413, 415),
)
def move_in_queue(server: ServerDep, raw: RawBody) -> JobAnswer:
    """Right before or after another queued job, or to the front; it takes on the priority of its
    new neighbour. 409 `invalid-state` when one of the two does not wait."""
    wanted = checked(parse(raw), _checked_move)
    with server.database.session() as session:
        job = move(session, wanted.job, before=wanted.before, after=wanted.after)
        return JobAnswer.model_validate(job)


def _checked_move(given: Any) -> QueueMove:
    wanted, found = check(QueueMove, given)
    if wanted is None:
        raise InvalidSpecError(found)
    return wanted


def _item(waiting: queue.Waiting) -> QueueItem:
    job = waiting.job
    return QueueItem(
        position=waiting.position,
        job_id=job.id,
        name=job.name,
        kind=job.kind,
        state=job.state,
        dataset=job.dataset,
        priority=job.priority,
        gpus=job.gpus,
        queued_at=job.queued_at,
        attempt=job.attempt,
        sweep_id=job.sweep_id,
        behind=waiting.behind,
        reason=WaitReason.model_validate(waiting.reason),
        starts_in_s=waiting.starts_in_s,
        expected_s=waiting.expected_s,
    )
