"""GET /v1/jobs/{id}/metrics: series of metrics, bounded in size without losing their extremes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api.answers import MetricsAnswer, MetricSeries
from app.api.auth import reader
from app.api.etag import NOT_MODIFIED, cacheable
from app.api.parameters import JobId, StorableQuery, problems
from app.api.server import ServerDep
from app.jobs import read

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(reader), StorableQuery])

Step = Annotated[int | None, Query(ge=0, le=2**31 - 1)]


@router.get(
    "/{job_id}/metrics",
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
    with server.database.session() as session:
        read.job(session, job_id)
        found = read.metric_series(
            session,
            job_id,
            names=wanted,
            split=split,
            start=start,
            end=end,
            max_points=max_points,
        )
        series = [MetricSeries.model_validate(one) for one in found]
    answer = MetricsAnswer(
        job_id=job_id,
        series=series,
        total=sum(one.total for one in series),
        sampled=any(one.sampled for one in series),
    )
    return cacheable(request, answer)
