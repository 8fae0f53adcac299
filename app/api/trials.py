"""What came of a sweep: its trials, the best one and its checkpoint, and what plots need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.api.auth import reader
from app.api.checkpoints import REDIRECT, content_path
from app.api.errors import QueryError
from app.api.etag import NOT_MODIFIED, cacheable
from app.api.parameters import PageSize, PageToken, StorableQuery, SweepId, problems
from app.api.server import ServerDep
from app.api.sweep_answers import (
    BestAnswer,
    Coordinate,
    HistoryAnswer,
    ImportancesAnswer,
    ParallelAnswer,
    ParetoAnswer,
    SliceAnswer,
    TrialAnswer,
    TrialPage,
)
from app.db import Job, Sweep, Trial
from app.domain import JobState, NoCheckpointError
from app.jobs import read as jobs
from app.sweeps import read
from app.sweeps.best import complete_trials, goals, is_feasible
from gogooku3.config import Problem
from gogooku3.config.distribution import DistributionConfig

router = APIRouter(
    prefix="/v1/sweeps/{sweep_id}",
    tags=["sweeps"],
    dependencies=[Depends(reader), StorableQuery],
)


@router.get(
    "/trials",
    summary="List a sweep's trials",
    response_model=TrialPage,
    responses={**NOT_MODIFIED, **problems(404)},
)
def list_trials(
    request: Request,
    server: ServerDep,
    sweep_id: SweepId,
    page_size: PageSize = 100,
    page_token: PageToken = None,
    state: Annotated[list[JobState] | None, Query(description="Any of these")] = None,
) -> Response:
    """By number, with the objective of each epoch."""
    if page_token is not None and not (page_token.isdecimal() and len(page_token) < 10):
        message = "this page token is not one of ours; ask for the first page again, without one"
        raise QueryError([Problem("/query/page_token", "invalid-page-token", message)])
    with server.database.session() as session:
        items, last = read.trials(
            session,
            read.sweep(session, sweep_id),
            states=state or (),
            after=-1 if page_token is None else int(page_token),
            page_size=page_size,
        )
        answers = [TrialAnswer.model_validate(item) for item in items]
    token = None if last is None else str(last)
    return cacheable(request, TrialPage(items=answers, next_page_token=token))


@router.get(
    "/trials/{number}",
    summary="Look at a trial",
    response_model=TrialAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_trial(
    request: Request,
    server: ServerDep,
    sweep_id: SweepId,
    number: Annotated[int, Path(ge=0, lt=2**31)],
) -> Response:
    """What was chosen and what came of it; its run is the job `job_id`."""
    with server.database.session() as session:
        found = read.trial(session, read.sweep(session, sweep_id), number)
        answer = TrialAnswer.model_validate(found)
    return cacheable(request, answer)


@router.get(
    "/best",
    summary="Look at the best trial",
    response_model=BestAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_best(request: Request, server: ServerDep, sweep_id: SweepId) -> Response:
    """By the (first) objective, within the constraints, beside what says how much of it may be
    luck. 404 `no-complete-trial` before the first."""
    with server.database.session() as session:
        sweep = read.sweep(session, sweep_id)
        trial, run = read.best(session, sweep)
        answer = BestAnswer(
            number=trial.number,
            job_id=run.id,
            value=(trial.values or [0.0])[0],
            params=trial.params,
            metrics=(run.best or {}).get("metrics", {}),
            epoch=(run.best or {}).get("epoch"),
            checkpoint_id=_checkpoint_id(session, run),
            selection=_selection(sweep),
        )
    return cacheable(request, answer)


@router.get(
    "/best/checkpoint",
    summary="Go to the best trial's best checkpoint",
    status_code=307,
    response_class=RedirectResponse,
    responses=REDIRECT,
)
def get_best_checkpoint(server: ServerDep, sweep_id: SweepId) -> str:
    """404 `no-complete-trial` before the first trial is complete."""
    with server.database.session() as session:
        sweep = read.sweep(session, sweep_id)
        return content_path(read.best_checkpoint(session, sweep).id)


@router.get(
    "/importances",
    summary="See which parameters mattered",
    response_model=ImportancesAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_importances(request: Request, server: ServerDep, sweep_id: SweepId) -> Response:
    """PED-ANOVA (Watanabe et al. 2023), by objective; shares that add up to 1, largest first.

    A worker works them out when trials have ended.
    """
    with server.database.session() as session:
        sweep = read.sweep(session, sweep_id)
        analysis = sweep.analysis or {}
        shares = analysis.get("importances") or {}
        answer = ImportancesAnswer(
            importances={goal.metric: _by_size(shares.get(goal.metric)) for goal in goals(sweep)},
            trials=analysis.get("trials", 0),
        )
    return cacheable(request, answer)


@router.get(
    "/parallel",
    summary="Get the data of a parallel-coordinates plot",
    response_model=ParallelAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_parallel(request: Request, server: ServerDep, sweep_id: SweepId) -> Response:
    """An axis for each parameter and a line for each complete trial."""
    with server.database.session() as session:
        sweep = read.sweep(session, sweep_id)
        paths = list(sweep.config["search_space"])
        goal = goals(sweep)[0]
        answer = ParallelAnswer(
            objective=goal.metric,
            direction=goal.direction,
            coordinates=[_coordinate(path, sweep) for path in paths],
            lines=[
                {
                    "number": trial.number,
                    "value": value,
                    "params": {path: trial.params.get(path) for path in paths},
                }
                for trial, value in _complete(session, sweep)
            ],
        )
    return cacheable(request, answer)


@router.get(
    "/slice",
    summary="Get the data of slice plots",
    response_model=SliceAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_slice(request: Request, server: ServerDep, sweep_id: SweepId) -> Response:
    """For each parameter its values against the objective."""
    with server.database.session() as session:
        sweep = read.sweep(session, sweep_id)
        goal = goals(sweep)[0]
        complete = _complete(session, sweep)
        answer = SliceAnswer(
            objective=goal.metric,
            direction=goal.direction,
            slices={
                path: [
                    {"number": trial.number, "param": trial.params[path], "value": value}
                    for trial, value in complete
                    if path in trial.params
                ]
                for path in sweep.config["search_space"]
            },
        )
    return cacheable(request, answer)


@router.get(
    "/history",
    summary="Get the history of the search",
    response_model=HistoryAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_history(request: Request, server: ServerDep, sweep_id: SweepId) -> Response:
    """The value of each complete trial and the best so far, in the order of their numbers."""
    with server.database.session() as session:
        sweep = read.sweep(session, sweep_id)
        goal = goals(sweep)[0]
        found = read.history(session, sweep)
        answer = HistoryAnswer(
            objective=goal.metric,
            direction=goal.direction,
            numbers=[number for number, _, _ in found],
            values=[value for _, value, _ in found],
            best=[best for _, _, best in found],
        )
    return cacheable(request, answer)


@router.get(
    "/pareto",
    summary="Get the Pareto front",
    response_model=ParetoAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_pareto(request: Request, server: ServerDep, sweep_id: SweepId) -> Response:
    """The trials that no other one beats in everything; with one objective, the best."""
    with server.database.session() as session:
        sweep = read.sweep(session, sweep_id)
        answer = ParetoAnswer(
            objectives=[goal.model_dump() for goal in goals(sweep)],
            items=[TrialAnswer.model_validate(item) for item in read.front(session, sweep)],
        )
    return cacheable(request, answer)


def _checkpoint_id(session: Session, run: Job) -> str | None:
    try:
        return jobs.best_checkpoint(session, run.id).id
    except NoCheckpointError:  # its retention keeps none
        return None


def _selection(sweep: Sweep) -> dict[str, Any] | None:
    if sweep.analysis is None:
        return None
    return {**sweep.analysis["selection"], "trials": sweep.analysis["trials"]}


def _by_size(shares: dict[str, float] | None) -> dict[str, float] | None:
    """Largest first: jsonb keeps no order."""
    if shares is None:
        return None
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _complete(session: Session, sweep: Sweep) -> Sequence[tuple[Trial, float]]:
    trials = complete_trials(session, sweep.id)
    return [(trial, trial.values[0]) for trial in trials if trial.values and is_feasible(trial)]


def _coordinate(path: str, sweep: Sweep) -> Coordinate:
    distribution = DistributionConfig.model_validate(sweep.config["search_space"][path])
    ends = distribution.int or distribution.float
    return Coordinate(
        path=path,
        log=distribution.log,
        choices=None if distribution.choice is None else list(distribution.choice),
        low=ends and ends[0],
        high=ends and ends[1],
    )
