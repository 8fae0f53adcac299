"""GET /v1/audit: who changed what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import administrator
from app.api.etag import NOT_MODIFIED, cacheable
from app.api.operation_answers import AuditEntryAnswer, AuditPage
from app.api.parameters import StorableQuery, problems
from app.api.server import ServerDep
from app.jobs.audit import AuditFilter, entries

router = APIRouter(
    prefix="/v1/audit", tags=["operations"], dependencies=[Depends(administrator), StorableQuery]
)


@router.get(
    "",
    summary="Read the audit log",
    response_model=AuditPage,
    responses={**NOT_MODIFIED, **problems()},
)
def list_audit(
    request: Request,
    server: ServerDep,
    actor: Annotated[
        str | None, Query(max_length=200, description="An API key's id, `open` or `cli:USER`")
    ] = None,
    target: Annotated[
        str | None, Query(max_length=200, description="The id of what was changed or made")
    ] = None,
    after: Annotated[datetime | None, Query(description="Not older than this")] = None,
    before: Annotated[
        int | None, Query(ge=1, le=2**62, description="Go on with `next_before`")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Every change that was made, newest first; each entry was committed with its change."""
    if after is not None and after.tzinfo is None:
        after = after.replace(tzinfo=UTC)
    where = AuditFilter(actor=actor, target=target, after=after, before=before)
    with server.database.session() as session:
        rows = entries(session, where, limit + 1)
        items = [AuditEntryAnswer.model_validate(row) for row in rows[:limit]]
    next_before = items[-1].seq if len(rows) > limit else None
    return cacheable(request, AuditPage(items=items, next_before=next_before))
