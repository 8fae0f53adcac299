"""Creating a job over HTTP: check the body, store the job once, ring the doorbell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app.api.answers import JobAnswer
from app.api.auth import Caller
from app.api.body import JsonBody
from app.api.server import Server
from app.db import Job
from app.jobs import idempotency

ValidateOnly = Annotated[
    bool, Query(description="Only check, and answer the effective configuration")
]
CREATED: dict[str, Any] = {
    "description": "Queued",
    "headers": {
        "Location": {"schema": {"type": "string"}},
        "Idempotent-Replayed": {
            "description": "`true` on a stored first answer",
            "schema": {"type": "string"},
        },
    },
}
"""The description of a job that was created."""


def create(
    server: Server,
    caller: Caller,
    body: JsonBody,
    *,
    route: str,
    status: int,
    idempotency_key: str | None,
    submit: Callable[[Session], Job],
) -> Response:
    """The answer about the job that `submit` stores, or the stored answer of the first request
    with this key; both in the transaction that stores the job."""

    def store(session: Session) -> tuple[BaseModel, str]:
        job = submit(session)
        return JobAnswer.model_validate(job), f"/v1/jobs/{job.id}"

    return create_once(
        server,
        caller,
        body,
        route=route,
        status=status,
        idempotency_key=idempotency_key,
        store=store,
    )


def create_once(
    server: Server,
    caller: Caller,
    body: JsonBody,
    *,
    route: str,
    status: int,
    idempotency_key: str | None,
    store: Callable[[Session], tuple[BaseModel, str]],
) -> Response:
    """As `create`, for anything: `store` answers what was stored and where it is served."""
    asked = None
    if idempotency_key is not None:
        asked = idempotency.Asked(caller.name, route, idempotency_key, body.digest())
    with server.database.session() as session:
        if asked is not None:
            stored = idempotency.begin(session, asked)
            if stored is not None:
                headers = stored.headers | {"Idempotent-Replayed": "true"}
                return JSONResponse(stored.response, stored.status, headers)
        answer, location = store(session)
        headers = {"Location": location}
        if asked is not None:
            kept = idempotency.StoredAnswer(status, answer.model_dump(mode="json"), headers)
            idempotency.complete(session, {asked: kept})
    # Only now can a worker see the row.
    server.doorbell.ring()
    return json_answer(status, answer, headers)


def json_answer(
    status: int, answer: BaseModel, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer as JSON, undefined numbers as null."""
    content = answer.model_dump_json().encode()
    return Response(content, status, headers, media_type="application/json")
