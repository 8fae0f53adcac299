"""What the API answers about itself, its webhooks and its audit log. Additive changes only: clients
rely on every name here."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from app.api.answers import Answer


class WebhookAnswer(Answer):
    """An address that is told of jobs."""

    id: str
    url: str
    events: list[str]
    labels: dict[str, str]
    """Only of jobs that have all of these."""
    description: str | None
    created_at: datetime


class WebhookCreated(WebhookAnswer):
    """A new webhook, with what its signatures are checked with."""

    secret: str
    """Not shown again."""


class WebhookPage(Answer):
    """All webhooks, oldest first."""

    items: list[WebhookAnswer]


class DeliveryAnswer(Answer):
    """One event for one webhook."""

    id: str
    """Also in the header `webhook-id`, the same at every attempt."""
    type: str
    job_id: str | None
    state: str
    """`pending`, `delivered` or `failed` (given up)."""
    attempts: int
    next_at: datetime | None
    """Of a pending one: the next attempt."""
    status: int | None
    """HTTP status of the newest answer."""
    error: str | None
    """Why the newest attempt did not arrive."""
    created_at: datetime
    delivered_at: datetime | None


class DeliveryPage(Answer):
    """Deliveries, newest first."""

    items: list[DeliveryAnswer]
    next_before: int | None
    """`before` of the next call; null = these were the last."""


class AuditEntryAnswer(Answer):
    """A change that somebody made."""

    seq: int
    at: datetime
    actor: str
    """The API key's id, `open` (a local request without a key) or `cli:USER`."""
    action: str
    """Method and route, or the command."""
    target: str | None
    """What it was done to."""
    created: list[str]
    """What it made, at most ten ids."""
    request_id: str
    address: str | None


class AuditPage(Answer):
    """Entries, newest first."""

    items: list[AuditEntryAnswer]
    next_before: int | None
    """`before` of the next call; null = these were the last."""


class Health(Answer):
    """The process answers."""

    status: str = "ok"


class Readiness(Answer):
    """Every part that a job needs is there."""

    status: str = "ok"
    checks: dict[str, str]
    warnings: list[str] = Field([])
    """What will be in the way of jobs before long, such as a disk that is nearly full."""


class Version(Answer):
    """What is running here."""

    version: str
    api: str = "v1"
    python: str
