"""Series of metrics, of one job or of many, bounded in size without losing their extremes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic_core import to_json
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.api.answers import JobsMetrics, MetricsAnswer
from app.api.auth import reader
from app.api.body import RawBody, checked, parse
from app.api.errors import QueryError
from app.api.etag import NOT_MODIFIED, fresh, tag_of, unchanged
from app.api.openapi import body_of
from app.api.parameters import JobId, StorableQuery, problems
from app.api.requests import MetricsQuery
from app.api.server import ServerDep
from app.domain import InvalidSpecError
from app.jobs import read
from app.jobs.series import LAST_STEP, Series, Window, extents, thinned
from gogooku3.config import Problem, check

MOST_POINTS = 200_000
"""Points of one answer: more than any page of charts draws, and little to hold."""

router = APIRouter(prefix="/v1", tags=["jobs"], dependencies=[Depends(reader), StorableQuery])


@dataclass(frozen=True)
class _Answer:
    job_id: str
    series: Sequence[Series]


Step = Annotated[int | None, Query(ge=0, le=LAST_STEP)]


@router.get(
    "/jobs/{job_id}/metrics",
    summary="Read a job's metrics",
    response_model=MetricsAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_metrics(
    request: Request,
    server: ServerDep,
    job_id: JobId,
    names: Annotated[
        list[str] | None,
        Query(description="Names such as `valid/rank_ic@5`, repeated or separated by commas"),
    ] = None,
    split: Annotated[
        str | None, Query(max_length=64, description="Only names that start with `SPLIT/`")
    ] = None,
    start: Step = None,
    end: Step = None,
    max_points: Annotated[int, Query(ge=4, le=10_000, description="Per series")] = 500,
) -> Response:
    """`start` and `end` are epochs, both included. The same call gives the same points."""
    wanted = None
    if names is not None:
        wanted = sorted({name.strip() for item in names for name in item.split(",")} - {""})
    query = MetricsQuery(
        jobs=[job_id], names=wanted, split=split, start=start, end=end, max_points=max_points
    )
    with server.database.reading() as session:
        # Points come with an event, in one transaction: no new event, no new point.
        etag = tag_of(job_id, read.last_seq(session, job_id), str(request.query_params))
        if unchanged(request, etag):
            return fresh(etag)
        answer = _answer(session, job_id, query)
    return fresh(etag, _json(answer))


@router.post(
    "/metrics/query",
    summary="Read the metrics of several jobs",
    response_model=JobsMetrics,
    openapi_extra=body_of("MetricsQuery", {"jobs": [], "names": ["valid/rank_ic"]}),
    responses=problems(400, 413, 415),
)
def query_metrics(server: ServerDep, raw: RawBody) -> Response:
    """For dashboards and comparisons: the same series of up to 100 jobs at once."""
    query = checked(parse(raw), _checked_query)
    found, missing = [], []
    with server.database.reading() as session:
        known = read.existing(session, query.jobs)
        room = MOST_POINTS
        for job_id in dict.fromkeys(query.jobs):
            if job_id not in known:
                missing.append(job_id)
                continue
            answer = _answer(session, job_id, query, room)
            room -= sum(len(one.steps) for one in answer.series)
            found.append(_json(answer))
    content = b'{"jobs":[%b],"missing":%b}' % (b",".join(found), to_json(missing))
    return Response(content, media_type="application/json")


def _checked_query(given: Any) -> MetricsQuery:
    query, found = check(MetricsQuery, given)
    if query is None:
        raise InvalidSpecError(found)
    return query


def _answer(session: Session, job_id: str, query: MetricsQuery, room: int = MOST_POINTS) -> _Answer:
    end = LAST_STEP if query.end is None else query.end
    window = Window(query.start or 0, end)
    found = extents(session, job_id, names=query.names, split=query.split, window=window)
    if sum(min(one.total, query.max_points) for one in found) > room:
        message = (
            f"the answer would hold more than {MOST_POINTS} points; lower `max_points`, or ask "
            "for fewer names or jobs"
        )
        raise QueryError([Problem("/query/max_points", "too-many-points", message)])
    series: Sequence[Series] = thinned(session, job_id, found, window, query.max_points)
    return _Answer(job_id, series)


def _json(answer: _Answer) -> bytes:
    """A MetricsAnswer. Its thousands of points are written in one go: made into objects, checked
    and written one by one they would cost more than reading them."""
    return _object(
        job_id=to_json(answer.job_id),
        series=b"[%b]" % b",".join(map(_series_json, answer.series)),
        total=b"%d" % sum(one.total for one in answer.series),
        sampled=to_json(any(one.sampled for one in answer.series)),
    )


def _series_json(one: Series) -> bytes:
    values = to_json(one.values, inf_nan_mode="null").decode()[1:-1].split(",") if one.steps else []
    # Points of an epoch, or of a batch of epochs, have one time.
    times = {at: to_json(at).decode() for at in set(one.ats)}
    points = ",".join(
        f'{{"step":{step},"value":{value},"at":{times[at]},"attempt":{attempt}}}'
        for step, value, at, attempt in zip(one.steps, values, one.ats, one.attempts, strict=True)
    )
    return _object(
        name=to_json(one.name),
        points=b"[%b]" % points.encode(),
        total=b"%d" % one.total,
        sampled=to_json(one.sampled),
    )


def _object(**fields: bytes) -> bytes:
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), fields[name]) for name in fields)
