"""Whether the server works, what it is, and who works for it."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from statistics import fmean

import redis
from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import reader
from app.api.fleet_answers import SlotAnswer, UtilisationAnswer, WorkerAnswer, WorkerPage
from app.api.operation_answers import Health, Readiness, Version
from app.api.parameters import StorableQuery, problems
from app.api.problem import problem
from app.api.release import VERSION
from app.api.server import Server, ServerDep
from app.db import Worker
from app.db.migrate import head
from app.jobs import read
from app.jobs.workers import ALIVE_S

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Is the process up?")
def healthz() -> Health:
    """Says nothing about the database or the workers: see `/readyz`."""
    return Health()


@router.get(
    "/readyz",
    summary="Would a job be run?",
    response_model=Readiness,
    responses={503: problems(503)[503]},
)
def readyz(request: Request, server: ServerDep) -> Readiness | Response:
    """Database with its schema, broker and the newest worker's heartbeat; 503 names what is
    missing. A disk that fills up is a warning."""
    checks = {"database": _database(server), "broker": _broker(server)}
    checks["worker"] = _worker(server) if checks["database"] == "ok" else "unknown"
    missing = [f"{name}: {said}" for name, said in checks.items() if said != "ok"]
    if missing:
        return problem(request, 503, "not-ready", "; ".join(missing), checks=checks)
    return Readiness(checks=checks, warnings=_warnings(server))


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    dependencies=[Depends(reader), StorableQuery],
    response_class=Response,
    responses={
        200: {
            "description": "In Prometheus' text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problems(),
    },
)
def get_figures(server: ServerDep) -> Response:
    """Queue, jobs, attempts and failures, workers and slots, webhooks, disk, requests by route."""
    return Response(generate_latest(server.figures.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/version", summary="What runs here?")
def version() -> Version:
    """Version of the server."""
    return Version(version=VERSION, python=platform.python_version())


@router.get(
    "/v1/workers",
    summary="List workers",
    response_model=WorkerPage,
    dependencies=[Depends(reader), StorableQuery],
    responses=problems(),
)
def list_workers(server: ServerDep) -> WorkerPage:
    """Most recent heartbeat first."""
    alive_since = datetime.now(UTC) - timedelta(seconds=ALIVE_S)
    with server.database.session() as session:
        rows = read.workers(session)
        loads = read.loads(session, {run["job_id"] for row in rows for run in row.current})
        items = [_worker_answer(row, alive_since, loads) for row in rows]
    return WorkerPage(items=items)


def _worker_answer(
    row: Worker, alive_since: datetime, loads: Mapping[str, read.Load]
) -> WorkerAnswer:
    is_alive = row.stopped_at is None and row.heartbeat_at >= alive_since
    running = {slot: job for job in row.current for slot in job.get("slots", [job["slot"]])}
    slots = [
        SlotAnswer(
            number=number,
            gpu=row.gpus[number] if number < len(row.gpus) else None,
            job_id=running.get(number, {}).get("job_id"),
            attempt=running.get(number, {}).get("attempt"),
        )
        for number in range(row.slots if is_alive else 0)
    ]
    told = [loads[run["job_id"]] for run in row.current if run["job_id"] in loads]
    return WorkerAnswer(
        id=row.id,
        host=row.host,
        pid=row.pid,
        slots=row.slots,
        device=row.device,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        is_alive=is_alive,
        current=row.current,
        slot_list=slots,
        utilisation=UtilisationAnswer(
            cpu=_mean(load.cpu for load in told), gpu=_mean(load.gpu for load in told)
        ),
        stopped_at=row.stopped_at,
    )


def _mean(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return fmean(known) if known else None


def _database(server: Server) -> str:
    try:
        with server.database.session() as session:
            found = session.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError:
        return "has no schema: run `gogooku3 db upgrade`"
    except SQLAlchemyError as error:
        return f"does not answer ({type(error).__name__})"
    # A newer schema is one that a newer version, side by side with this one, has brought.
    if found is None or found < head():
        return f"has schema {found}, this version needs {head()}: run `gogooku3 db upgrade`"
    return "ok"


def _warnings(server: Server) -> list[str]:
    found = server.artifacts.trouble()
    return [f"artifacts: {found}"] if found else []


def _broker(server: Server) -> str:
    connection = redis.Redis.from_url(
        server.redis_url, socket_timeout=1.0, socket_connect_timeout=1.0
    )
    try:
        connection.ping()
    except redis.RedisError as error:
        return f"does not answer ({type(error).__name__})"
    finally:
        connection.close()
    return "ok"


def _worker(server: Server) -> str:
    alive_since = datetime.now(UTC) - timedelta(seconds=ALIVE_S)
    with server.database.session() as session:
        newest = next(iter(read.workers(session)), None)
    if newest is None:
        return "none has started"
    if newest.stopped_at is not None or newest.heartbeat_at < alive_since:
        return f"none heard of since {newest.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC"
    return "ok"
