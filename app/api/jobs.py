"""Jobs: create, list, look at, change; and who ran them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.api.answers import AttemptAnswer, AttemptPage, CheckedJob, JobAnswer, JobPage
from app.api.auth import Caller, Submitter, reader, submitter
from app.api.body import RawBody, checked, parse
from app.api.creation import CREATED, ValidateOnly, create, json_answer
from app.api.errors import QueryError
from app.api.etag import NOT_MODIFIED, cacheable, fresh, matches, tag_of, unchanged
from app.api.openapi import JOB_PATCH_BODY, JOB_SPEC_BODY
from app.api.parameters import (
    IdempotencyKey,
    JobId,
    PageSize,
    PageToken,
    StorableQuery,
    problems,
)
from app.api.rendered import Listing
from app.api.server import Server, ServerDep
from app.api.submissions import Asked
from app.db import Job
from app.db.trail import current
from app.domain import InvalidSpecError, JobState, NotFoundError
from app.jobs import read
from app.jobs.change import change
from app.jobs.check import check_patch, check_spec
from app.jobs.listing import ORDERS, JobFilter
from app.jobs.submit import submit
from gogooku3.config import JobSpec, Problem, config_sources
from gogooku3.data.header import DatasetHeader

# Who asks is settled before what is asked: a stranger learns nothing from the answers.
reading = APIRouter(prefix="/v1/jobs", dependencies=[Depends(reader), StorableQuery])
submitting = APIRouter(prefix="/v1/jobs", dependencies=[Depends(submitter), StorableQuery])
CREATE_ROUTE = "POST /v1/jobs"


@submitting.post(
    "",
    status_code=201,
    summary="Submit a training job",
    response_model=JobAnswer,
    openapi_extra=JOB_SPEC_BODY,
    responses={
        200: {"model": CheckedJob, "description": "`validate_only`: valid, and nothing stored"},
        201: CREATED,
        **problems(400, 409, 413, 415, 429),
    },
)
async def create_job(
    server: ServerDep,
    caller: Submitter,
    raw: RawBody,
    idempotency_key: IdempotencyKey = None,
    validate_only: ValidateOnly = False,
) -> Response:
    """The answer holds the effective configuration, every default filled in.

    Send an `Idempotency-Key` to be able to repeat the request: same key and same body give the
    stored first answer.
    """
    trail = current()
    if trail is not None and not validate_only:
        asked = Asked(raw, caller.key_id, caller.name, CREATE_ROUTE, idempotency_key, trail)
        created = await server.submissions.ask(asked)
        if created is not None:
            headers = {"Location": created.location}
            return Response(created.content, 201, headers, media_type="application/json")
    return await run_in_threadpool(
        _create_alone, server, caller, raw, idempotency_key, validate_only
    )


def _create_alone(
    server: Server, caller: Caller, raw: bytes, idempotency_key: str | None, validate_only: bool
) -> Response:
    body = parse(raw)

    def check() -> tuple[JobSpec, DatasetHeader]:
        return checked(body, partial(check_spec, caches=server.settings.caches))

    def submit_it(session: Session) -> Job:
        spec, header = check()
        return submit(session, spec, given=body.value, header=header, api_key_id=caller.key_id)

    if validate_only:
        return json_answer(200, checked_job(*check(), body.value))
    return create(
        server,
        caller,
        body,
        route=CREATE_ROUTE,
        status=201,
        idempotency_key=idempotency_key,
        submit=submit_it,
    )


@reading.get(
    "",
    summary="List jobs",
    response_model=JobPage,
    responses={**NOT_MODIFIED, **problems()},
)
async def list_jobs(
    request: Request,
    server: ServerDep,
    page_size: PageSize = 100,
    page_token: PageToken = None,
    order_by: Annotated[
        str, Query(max_length=64, description=f"One of {', '.join(ORDERS)}; `-` = downwards")
    ] = "-created_at",
    state: Annotated[list[JobState] | None, Query(description="Any of these")] = None,
    kind: Annotated[str | None, Query(max_length=64)] = None,
    label: Annotated[
        list[str] | None, Query(description="`key:value`; repeated = all of these")
    ] = None,
    dataset_id: Annotated[str | None, Query(max_length=64)] = None,
    sweep_id: Annotated[str | None, Query(max_length=64)] = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    q: Annotated[
        str | None, Query(max_length=200, description="Part of the name or note, or the whole id")
    ] = None,
) -> Response:
    """Jobs that fit every filter; go on with `page_token` = `next_page_token`."""
    where = JobFilter(
        states=tuple(state or ()),
        kind=kind,
        labels=labels_of(label or []),
        dataset=dataset_id,
        created_after=_utc(created_after),
        created_before=_utc(created_before),
        q=q,
        sweep_id=sweep_id,
    )
    try:
        found = await server.lists.ask(Listing(where, order_by, page_size, page_token))
    except InvalidSpecError as error:
        raise QueryError(error.problems) from error
    assert found is not None
    if unchanged(request, found.etag):
        return fresh(found.etag)
    return fresh(found.etag, found.content)


@reading.get(
    "/{job_id}",
    summary="Look at a job",
    response_model=JobAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
async def get_job(request: Request, server: ServerDep, job_id: JobId) -> Response:
    """State, progress, latest and best metrics, effective configuration, provenance."""
    found = await server.jobs.ask(job_id)
    if found is None:
        raise NotFoundError(f"no job {job_id!r}")
    if unchanged(request, found.etag):
        return fresh(found.etag)
    return fresh(found.etag, found.content)


@reading.get(
    "/{job_id}/attempts",
    summary="List a job's attempts",
    response_model=AttemptPage,
    responses={**NOT_MODIFIED, **problems(404)},
)
def list_attempts(request: Request, server: ServerDep, job_id: JobId) -> Response:
    """Who held the lease, when, how it ended, and what was rejected as stale; first to last."""
    with server.database.reading() as session:
        rows = read.attempts(session, job_id)
        items = [AttemptAnswer.model_validate(row) for row in rows]
    return cacheable(request, AttemptPage(items=items))


@submitting.patch(
    "/{job_id}",
    summary="Change a job's labels, priority or note",
    response_model=JobAnswer,
    openapi_extra=JOB_PATCH_BODY,
    responses=problems(400, 404, 412, 413, 415),
)
def change_job(
    server: ServerDep,
    job_id: JobId,
    raw: RawBody,
    if_match: Annotated[
        str | None,
        Header(alias="If-Match", max_length=1000, description="Only if this is its ETag still"),
    ] = None,
) -> Response:
    """What the body leaves out stays; labels are merged, and null removes one."""
    patch = checked(parse(raw), check_patch)

    def is_as_expected(job: Job) -> bool:
        return if_match is None or matches(if_match, tag_of(_content(job)))

    with server.database.session() as session:
        job = change(session, job_id, patch, is_as_expected=is_as_expected)
        content = _content(job)
    headers = {"ETag": tag_of(content)}
    return Response(content, 200, headers, media_type="application/json")


router = APIRouter(tags=["jobs"])
router.include_router(submitting)
router.include_router(reading)


def _content(job: Job) -> bytes:
    return JobAnswer.model_validate(job).model_dump_json().encode()


def checked_job(spec: JobSpec, header: DatasetHeader, given: Any) -> CheckedJob:
    """The job as it would be."""
    plain = spec.model_dump(mode="json")
    return CheckedJob(
        name=spec.name,
        dataset=spec.dataset,
        dataset_fingerprint=header.fingerprint,
        config=plain["config"],
        config_sources=dict(config_sources(spec.config, given["config"])),
        resources=plain["resources"],
        limits=plain["limits"],
    )


def labels_of(given: Sequence[str]) -> dict[str, str]:
    """`key:value` pairs as a dictionary. Raises QueryError."""
    labels = dict[str, str]()
    for pair in given:
        key, colon, value = pair.partition(":")
        if not colon or not key:
            message = f"must be `key:value`; given {pair!r}"
            raise QueryError([Problem("/query/label", "label", message)])
        if labels.setdefault(key, value) != value:
            message = f"no job has two values of label {key!r}"
            raise QueryError([Problem("/query/label", "label", message)])
    return labels


def _utc(moment: datetime | None) -> datetime | None:
    """Times without a zone are UTC, as every time of the API is."""
    if moment is not None and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment
