"""What can be done to a job: cancel, pause, resume, retry, clone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.api.answers import CheckedJob, JobAnswer
from app.api.auth import Submitter, submitter
from app.api.body import JsonBody, RawBody, checked, parse
from app.api.creation import CREATED, ValidateOnly, create, json_answer
from app.api.dataset_answers import CheckedDataset
from app.api.datasets import checked_build
from app.api.jobs import checked_job
from app.api.openapi import OVERRIDES_BODY
from app.api.parameters import IdempotencyKey, JobId, StorableQuery, problems
from app.api.server import Server, ServerDep
from app.db import Job
from app.domain import InvalidSpecError, JobKind
from app.jobs import read
from app.jobs.cancel import cancel
from app.jobs.check import check_build, check_spec
from app.jobs.clone import merged, specification
from app.jobs.pause import pause, resume
from app.jobs.retry import retry
from app.jobs.submit import submit, submit_build
from gogooku3.config import Problem

router = APIRouter(
    prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(submitter), StorableQuery]
)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    response_model=JobAnswer,
    responses=problems(404, 409),
)
def cancel_job(
    server: ServerDep,
    job_id: JobId,
    force: Annotated[bool, Query(description="Kill it: no last checkpoint")] = False,
) -> JobAnswer:
    """A queued or paused job is cancelled at once; a running one writes a checkpoint and stops.

    Cancelling twice is cancelling once; a job that has ended otherwise is 409 `invalid-state`.
    """
    return _act(server, lambda session: cancel(session, job_id, force=force))


@router.post(
    "/{job_id}/pause",
    status_code=202,
    summary="Pause a job",
    response_model=JobAnswer,
    responses=problems(404, 409),
)
def pause_job(server: ServerDep, job_id: JobId) -> JobAnswer:
    """A queued job is put aside at once; a running one writes its state and frees its slot.

    It uses up no attempt. Pausing twice is pausing once; a job that has ended is 409
    `invalid-state`.
    """
    return _act(server, lambda session: pause(session, job_id))


@router.post(
    "/{job_id}/resume",
    status_code=202,
    summary="Resume a paused job",
    response_model=JobAnswer,
    responses=problems(404, 409, 429),
)
def resume_job(server: ServerDep, job_id: JobId) -> JobAnswer:
    """It takes its old place in the queue and goes on exactly where it stopped.

    A job that waits or runs already is left as it is; one that has ended is 409 `invalid-state`.
    """
    return _act(server, lambda session: resume(session, job_id), may_run=True)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    summary="Try a failed or cancelled job again",
    response_model=JobAnswer,
    responses=problems(404, 409, 429),
)
def retry_job(
    server: ServerDep,
    job_id: JobId,
    from_scratch: Annotated[
        bool, Query(description="Begin anew: forget its metrics and checkpoints")
    ] = False,
) -> JobAnswer:
    """It goes to the end of the queue, with all its attempts to use, and on from its last state.

    Repeating it while the job waits or runs changes nothing; a job that has not ended, or has
    succeeded, is 409 `invalid-state`.
    """
    caches = server.settings.caches
    return _act(
        server,
        lambda session: retry(session, job_id, caches=caches, from_scratch=from_scratch),
        may_run=True,
    )


@router.post(
    "/{job_id}/clone",
    status_code=201,
    summary="Submit a changed copy of a job",
    response_model=JobAnswer,
    openapi_extra=OVERRIDES_BODY,
    responses={
        200: {
            "model": CheckedJob | CheckedDataset,
            "description": "`validate_only`: valid, and nothing stored",
        },
        201: CREATED,
        **problems(400, 404, 409, 413, 415, 429),
    },
)
def clone_job(
    server: ServerDep,
    caller: Submitter,
    job_id: JobId,
    raw: RawBody,
    idempotency_key: IdempotencyKey = None,
    validate_only: ValidateOnly = False,
) -> Response:
    """The body holds overrides only, merged into what the job was made of: objects key by key,
    everything else replaced, an object of another `kind` whole.

    Pointers of problems lead into the merged specification. The new job's `parent_id` names the
    old one.
    """
    overrides = parse(raw or b"{}")
    with server.database.session() as session:
        source = read.job(session, job_id)
    body = JsonBody(merged(specification(source), overrides.value), overrides.problems)
    if not isinstance(overrides.value, dict) and not overrides.problems:
        raise InvalidSpecError([Problem("", "object", "the overrides must be a JSON object")])
    copy = _CloneOf(server, source, body, caller.key_id)
    if validate_only:
        return copy.check()
    return create(
        server,
        caller,
        overrides,
        route=f"POST /v1/jobs/{job_id}/clone",
        status=201,
        idempotency_key=idempotency_key,
        submit=copy.submit,
    )


class _CloneOf:
    """A job of the same kind as `source`, by its merged specification."""

    def __init__(self, server: Server, source: Job, body: JsonBody, key_id: str | None) -> None:
        self._settings = server.settings
        self._source = source
        self._body = body
        self._key_id = key_id
        self._builds = source.kind == JobKind.DATASET

    def check(self) -> Response:
        """The answer to `validate_only`."""
        given = self._body.value
        if self._builds:
            build = checked(self._body, partial(check_build, data=self._settings.data))
            return json_answer(200, checked_build(build, given))
        check = partial(check_spec, caches=self._settings.caches)
        return json_answer(200, checked_job(*checked(self._body, check), given))

    def submit(self, session: Session) -> Job:
        """Store it."""
        given, caches = self._body.value, self._settings.caches
        parent_id = self._source.id
        if self._builds:
            build = checked(self._body, partial(check_build, data=self._settings.data))
            return submit_build(
                session,
                build,
                given=given,
                caches=caches,
                api_key_id=self._key_id,
                parent_id=parent_id,
            )
        spec, header = checked(self._body, partial(check_spec, caches=caches))
        return submit(
            session,
            spec,
            given=given,
            header=header,
            api_key_id=self._key_id,
            parent_id=parent_id,
        )


def _act(server: Server, act: Callable[[Session], Job], *, may_run: bool = False) -> JobAnswer:
    """The job after `act`, told to those who listen, and to the workers if it may run now."""
    with server.database.session() as session:
        job = act(session)
        answer = JobAnswer.model_validate(job)
    server.wake.publish(job.id, job.last_seq)
    if may_run:
        server.doorbell.ring()
    return answer
