"""Sweeps: create, preview, list, look at, steer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import Submitter, reader, submitter
from app.api.body import JsonBody, RawBody, checked, parse
from app.api.creation import CREATED, ValidateOnly, create_once, json_answer
from app.api.errors import QueryError
from app.api.etag import NOT_MODIFIED, cacheable
from app.api.jobs import labels_of
from app.api.openapi import EXTENSION_BODY, RETENTION_BODY, SWEEP_SPEC_BODY
from app.api.parameters import (
    IdempotencyKey,
    PageSize,
    PageToken,
    StorableQuery,
    SweepId,
    problems,
)
from app.api.requests import SweepExtension
from app.api.server import Server, ServerDep
from app.api.sweep_answers import (
    CheckedSweepAnswer,
    RetentionAnswer,
    SweepAnswer,
    SweepPage,
    SweepPreview,
    SweepSummary,
    TrialAnswer,
)
from app.db import Sweep
from app.domain import InvalidSpecError, SweepState
from app.sweeps import control, read
from app.sweeps.best import goals
from app.sweeps.create import check_spec, create
from app.sweeps.definition import OutdatedSweepError, definition
from app.sweeps.listing import SweepFilter, list_sweeps
from app.sweeps.lock import lock_sweep
from app.sweeps.retention import remove, superfluous
from gogooku3.config import CheckedSweep, Problem, RetentionConfig, check
from gogooku3.config.sweep import GridSampler
from gogooku3.config.sweep_check import warnings_of
from gogooku3.data.header import DatasetHeader

reading = APIRouter(prefix="/v1/sweeps", dependencies=[Depends(reader), StorableQuery])
submitting = APIRouter(prefix="/v1/sweeps", dependencies=[Depends(submitter), StorableQuery])
CREATE_ROUTE = "POST /v1/sweeps"
Model = TypeVar("Model", bound=BaseModel)


@submitting.post(
    "",
    status_code=201,
    summary="Create a sweep",
    response_model=SweepAnswer,
    openapi_extra=SWEEP_SPEC_BODY,
    responses={
        200: {
            "model": CheckedSweepAnswer,
            "description": "`validate_only`: valid, and nothing stored",
        },
        201: CREATED,
        **problems(400, 409, 413, 415),
    },
)
def create_sweep(
    server: ServerDep,
    caller: Submitter,
    raw: RawBody,
    idempotency_key: IdempotencyKey = None,
    validate_only: ValidateOnly = False,
) -> Response:
    """Every path and value of the search space is tried against the configuration and the dataset
    first: what a trial could not run with is a problem here, not a failed trial.

    A worker then makes the trials, which are ordinary jobs with this sweep's id.
    """
    body = parse(raw)
    if validate_only:
        found, _ = _checked(server, body)
        return json_answer(200, _checked_answer(found))

    def store(session: Session) -> tuple[BaseModel, str]:
        found, header = _checked(server, body)
        sweep = create(session, found, given=body.value, header=header, api_key_id=caller.key_id)
        return _answer(session, sweep), f"/v1/sweeps/{sweep.id}"

    return create_once(
        server,
        caller,
        body,
        route=CREATE_ROUTE,
        status=201,
        idempotency_key=idempotency_key,
        store=store,
    )


@submitting.post(
    "/preview",
    summary="See what a sweep would do",
    response_model=SweepPreview,
    openapi_extra=SWEEP_SPEC_BODY,
    responses=problems(400, 413, 415),
)
def preview_sweep(server: ServerDep, raw: RawBody) -> Response:
    """Trials, runs and epochs, and the first suggestions; impossible and dead parameters are
    problems. Nothing is stored."""
    # Optuna takes a second to load: a server that is never asked for this does without it.
    from app.sweeps.preview import preview

    found, _ = _checked(server, parse(raw))
    shown = preview(found)
    answer = SweepPreview(**_checked_answer(found).model_dump(), **vars(shown))
    return json_answer(200, answer)


@reading.get(
    "",
    summary="List sweeps",
    response_model=SweepPage,
    responses={**NOT_MODIFIED, **problems()},
)
def list_all(
    request: Request,
    server: ServerDep,
    page_size: PageSize = 100,
    page_token: PageToken = None,
    state: Annotated[list[SweepState] | None, Query(description="Any of these")] = None,
    label: Annotated[
        list[str] | None, Query(description="`key:value`; repeated = all of these")
    ] = None,
    dataset_id: Annotated[str | None, Query(max_length=64)] = None,
    q: Annotated[
        str | None, Query(max_length=200, description="Part of the name or note, or the whole id")
    ] = None,
) -> Response:
    """Newest first; go on with `page_token` = `next_page_token`."""
    if page_token is not None and not page_token.startswith("swp_"):
        message = "this page token is not one of ours; ask for the first page again, without one"
        raise QueryError([Problem("/query/page_token", "invalid-page-token", message)])
    where = SweepFilter(tuple(state or ()), labels_of(label or []), dataset_id, q)
    with server.database.session() as session:
        rows, token = list_sweeps(session, where, page_size=page_size, before=page_token)
        items = [SweepSummary.model_validate(_fields(one)) for one in read.views(session, rows)]
    return cacheable(request, SweepPage(items=items, next_page_token=token))


@reading.get(
    "/{sweep_id}",
    summary="Look at a sweep",
    response_model=SweepAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_sweep(request: Request, server: ServerDep, sweep_id: SweepId) -> Response:
    """State, trials by state, best trial so far, when it may be over, effective specification."""
    with server.database.session() as session:
        answer = _answer(session, read.sweep(session, sweep_id))
    return cacheable(request, answer)


Running = Annotated[
    str | None,
    Query(pattern="^finish$", description="`finish`: what runs goes on to its end first"),
]


@submitting.post(
    "/{sweep_id}/cancel",
    status_code=202,
    summary="Cancel a sweep",
    response_model=SweepAnswer,
    responses=problems(404, 409),
)
def cancel_sweep(server: ServerDep, sweep_id: SweepId, running: Running = None) -> SweepAnswer:
    """No new trials; what waits or runs is cancelled, each run with a last checkpoint.

    Cancelling twice is cancelling once; a sweep that has ended otherwise is 409 `invalid-state`.
    """
    return _act(
        server,
        lambda session: control.cancel(session, sweep_id, is_finishing=running is not None),
    )


@submitting.post(
    "/{sweep_id}/pause",
    status_code=202,
    summary="Pause a sweep",
    response_model=SweepAnswer,
    responses=problems(404, 409),
)
def pause_sweep(server: ServerDep, sweep_id: SweepId, running: Running = None) -> SweepAnswer:
    """No new trials; what waits or runs is paused and frees its slot, and loses nothing."""
    return _act(
        server, lambda session: control.pause(session, sweep_id, is_finishing=running is not None)
    )


@submitting.post(
    "/{sweep_id}/resume",
    status_code=202,
    summary="Resume a paused sweep",
    response_model=SweepAnswer,
    responses=problems(404, 409, 429),
)
def resume_sweep(server: ServerDep, sweep_id: SweepId) -> SweepAnswer:
    """Paused trials go on exactly where they stopped, and new ones begin. A sweep that was stored
    by another version and cannot go on is 409 `spec-outdated`."""

    def act(session: Session) -> Sweep:
        definition(read.sweep(session, sweep_id))
        return control.resume(session, sweep_id)

    return _act(server, act)


@submitting.post(
    "/{sweep_id}/extend",
    status_code=202,
    summary="Give a sweep more trials",
    response_model=SweepAnswer,
    openapi_extra=EXTENSION_BODY,
    responses=problems(400, 404, 409, 413, 415),
)
def extend_sweep(server: ServerDep, sweep_id: SweepId, raw: RawBody) -> SweepAnswer:
    """`n_trials` in all, not more than there are. A sweep that has succeeded goes on; one that was
    cancelled or has failed is 409 `invalid-state`: warm-start a new one from it. One that was
    stored by another version and cannot go on is 409 `spec-outdated`."""
    asked = checked(parse(raw), _extension)

    def act(session: Session) -> Sweep:
        found = definition(read.sweep(session, sweep_id))
        limit = None
        if isinstance(found.spec.sampler, GridSampler):
            limit = (found.space.size() or 0) + len(found.spec.enqueue)
        return control.extend(session, sweep_id, asked.n_trials, limit=limit)

    return _act(server, act)


@submitting.put(
    "/{sweep_id}/retention",
    summary="Change which checkpoints are kept",
    response_model=RetentionAnswer,
    openapi_extra=RETENTION_BODY,
    responses=problems(400, 404, 413, 415),
)
def put_retention(
    server: ServerDep,
    sweep_id: SweepId,
    raw: RawBody,
    dry_run: Annotated[bool, Query(description="Only list what would go")] = False,
) -> RetentionAnswer:
    """The union of: best checkpoints of the sweep's `save_sweep_best` best trials, and of every
    trial its `save_trial_best` best and `save_trial_latest` newest. Of running trials nothing
    goes. A file that is gone already is a warning."""
    wanted = checked(parse(raw), _retention)
    with server.database.session() as session:
        sweep = lock_sweep(session, sweep_id)
        before = sweep.config
        sweep.config = {**before, "retention": wanted.model_dump(mode="json")}
        found = superfluous(session, sweep)
        if dry_run:
            session.expunge_all()
            session.rollback()
    warnings = [] if dry_run else remove(server.database, sweep_id, server.artifacts, found)
    return RetentionAnswer(
        retention=wanted.model_dump(mode="json"),
        dry_run=dry_run,
        removed=[
            {"id": one.id, "job_id": one.job_id, "epoch": one.epoch, "size": one.size}
            for one in found
        ],
        bytes=sum(one.size for one in found),
        warnings=warnings,
    )


router = APIRouter(tags=["sweeps"])
router.include_router(submitting)
router.include_router(reading)


def _checked(server: Server, body: JsonBody) -> tuple[CheckedSweep, DatasetHeader]:
    return checked(body, partial(check_spec, caches=server.settings.caches))


def _checked_answer(found: CheckedSweep) -> CheckedSweepAnswer:
    return CheckedSweepAnswer(
        config=found.spec.model_dump(mode="json"), warnings=list(found.warnings)
    )


def _extension(given: Any) -> SweepExtension:
    return _parsed(SweepExtension, given)


def _retention(given: Any) -> RetentionConfig:
    return _parsed(RetentionConfig, given)


def _parsed(model: type[Model], given: Any) -> Model:
    found, faults = check(model, given)
    if found is None:
        raise InvalidSpecError(faults)
    return found


def _act(server: Server, act: Callable[[Session], Sweep]) -> SweepAnswer:
    """The sweep after `act`, told to the workers."""
    with server.database.session() as session:
        answer = _answer(session, act(session))
    server.doorbell.ring()
    return answer


def _answer(session: Session, row: Sweep) -> SweepAnswer:
    return SweepAnswer.model_validate(
        {
            **_fields(read.view(session, row)),
            "config": row.config,
            "optuna_version": row.optuna_version,
            "warnings": _warnings(row),
        }
    )


def _warnings(row: Sweep) -> list[str]:
    try:
        found = definition(row)
    except OutdatedSweepError as error:  # it can still be looked at, and ended
        return [str(error)]
    return list(warnings_of(found.spec, found.space))


def _fields(shown: read.SweepView) -> dict[str, Any]:
    row = shown.row
    return {
        **{name: getattr(row, name) for name in _ROW if name in SweepSummary.model_fields},
        "objectives": [goal.model_dump() for goal in goals(row)],
        "counts": shown.counts,
        "best": shown.best and TrialAnswer.model_validate(shown.best),
        "estimated_finish_at": shown.estimated_finish_at,
    }


_ROW = Sweep.__table__.columns.keys()
