"""Webhooks: addresses that are told of jobs, and what became of each delivery."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import Administrator, administrator
from app.api.body import RawBody, checked, parse
from app.api.creation import CREATED, create_once, json_answer
from app.api.egress import EgressError, check_url
from app.api.etag import NOT_MODIFIED, cacheable
from app.api.openapi import body_of
from app.api.operation_answers import (
    DeliveryAnswer,
    DeliveryPage,
    WebhookAnswer,
    WebhookCreated,
    WebhookPage,
)
from app.api.parameters import ULID, IdempotencyKey, StorableQuery, problems
from app.api.requests import WebhookSpec
from app.api.server import ServerDep
from app.domain import InvalidSpecError
from app.jobs import webhooks
from app.settings import Network, parse_networks
from gogooku3.config import Problem, check

router = APIRouter(
    prefix="/v1/webhooks",
    tags=["webhooks"],
    dependencies=[Depends(administrator), StorableQuery],
)
CREATE_ROUTE = "POST /v1/webhooks"
WebhookId = Annotated[
    str, Path(pattern=f"^whk_{ULID}$", examples=["whk_01k8z3v8m4e9c2r7t5w6x0y1za"])
]
EXAMPLE = {
    "url": "https://example.org/hooks/gogooku3",
    "events": ["job.succeeded", "job.failed"],
    "labels": {"team": "red"},
}


@router.post(
    "",
    status_code=201,
    summary="Create a webhook",
    response_model=WebhookCreated,
    openapi_extra=body_of("WebhookSpec", EXAMPLE),
    responses={
        201: {
            **CREATED,
            "description": "Told from now on",
        },
        **problems(400, 409, 413, 415),
    },
)
def create_webhook(
    server: ServerDep,
    caller: Administrator,
    raw: RawBody,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """The answer holds the secret, once: keep it to check the signatures. Only the same request
    under the same `Idempotency-Key` is answered with it again.

    Deliveries are signed after the Standard Webhooks specification. The address must be public,
    unless the settings allow its network; redirects are not followed.
    """
    allowed = parse_networks(server.settings.webhook_networks)
    body = parse(raw)

    def store(session: Session) -> tuple[BaseModel, str]:
        spec = checked(body, lambda given: _checked_spec(given, allowed))
        webhook = webhooks.create(
            session,
            url=spec.url,
            events=spec.events,
            labels=spec.labels,
            description=spec.description,
            api_key_id=caller.key_id,
        )
        return WebhookCreated.model_validate(webhook), f"/v1/webhooks/{webhook.id}"

    return create_once(
        server,
        caller,
        body,
        route=CREATE_ROUTE,
        status=201,
        idempotency_key=idempotency_key,
        store=store,
    )


@router.get(
    "",
    summary="List webhooks",
    response_model=WebhookPage,
    responses={**NOT_MODIFIED, **problems()},
)
def list_webhooks(request: Request, server: ServerDep) -> Response:
    """Oldest first, without their secrets."""
    with server.database.session() as session:
        rows = webhooks.list_webhooks(session)
        items = [WebhookAnswer.model_validate(row) for row in rows]
    return cacheable(request, WebhookPage(items=items))


@router.get(
    "/{webhook_id}",
    summary="Look at a webhook",
    response_model=WebhookAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_webhook(request: Request, server: ServerDep, webhook_id: WebhookId) -> Response:
    """Without its secret."""
    with server.database.session() as session:
        answer = WebhookAnswer.model_validate(webhooks.get(session, webhook_id))
    return cacheable(request, answer)


@router.delete(
    "/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    response_class=Response,
    responses=problems(404),
)
def delete_webhook(server: ServerDep, webhook_id: WebhookId) -> Response:
    """With everything that waits to be delivered to it."""
    with server.database.session() as session:
        webhooks.remove(session, webhook_id)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/ping",
    status_code=202,
    summary="Try a webhook",
    response_model=DeliveryAnswer,
    responses=problems(404),
)
def ping_webhook(server: ServerDep, webhook_id: WebhookId) -> Response:
    """Sends `{"type": "ping"}`; the list of deliveries tells what became of it."""
    with server.database.session() as session:
        answer = _answer(webhooks.ping(session, webhook_id))
    return json_answer(202, answer)


@router.get(
    "/{webhook_id}/deliveries",
    summary="List a webhook's deliveries",
    response_model=DeliveryPage,
    responses={**NOT_MODIFIED, **problems(404)},
)
def list_deliveries(
    request: Request,
    server: ServerDep,
    webhook_id: WebhookId,
    before: Annotated[
        int | None, Query(ge=1, le=2**62, description="Go on with `next_before`")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Newest first: delivered, pending with the time of the next attempt, or given up and why."""
    with server.database.session() as session:
        rows = webhooks.deliveries(session, webhook_id, before=before, limit=limit + 1)
        items = [_answer(row) for row in rows[:limit]]
        next_before = rows[limit - 1].seq if len(rows) > limit else None
    return cacheable(request, DeliveryPage(items=items, next_before=next_before))


def _checked_spec(given: Any, allowed: list[Network]) -> WebhookSpec:
    spec, found = check(WebhookSpec, given)
    url = given.get("url") if isinstance(given, dict) else None
    if isinstance(url, str):
        try:
            check_url(url, allowed)
        except EgressError as error:
            found = [one for one in found if one.pointer != "/url"]
            found.append(Problem("/url", "address", str(error)))
    if spec is None or found:
        raise InvalidSpecError(found)
    return spec


def _answer(row: Any) -> DeliveryAnswer:
    return DeliveryAnswer(
        id=webhooks.delivery_id(row.seq),
        type=row.type,
        job_id=(row.body.get("job") or {}).get("id"),
        state=row.state,
        attempts=row.attempts,
        next_at=row.next_at if row.state == "pending" else None,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
    )
