"""Webhooks: who wants to hear of what, and the record of who has heard.

Deliveries are rows that a trigger adds in the transaction of the event itself. Whoever sends takes
some that are due, for a while: when it dies in between, they are due again, so a receiver may hear
twice and must look at the delivery's id.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.db import Json, Webhook, WebhookDelivery
from app.domain import JobState, NotFoundError, TooManyWebhooksError, new_id

EVENTS = (*(f"job.{state.value}" for state in JobState), "checkpoint.created")
"""What can be told: a job's new state, or a checkpoint."""
PING = "ping"
MOST_WEBHOOKS = 100
"""Each event looks at all of them."""
HELD_S = 60.0
"""A sender has this long for a delivery that it took."""
DELAYS_S = (5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
"""Between one attempt and the next; after the last, the delivery is given up: a day in all."""


@dataclass(frozen=True)
class Due:
    """A delivery that its holder must send now."""

    seq: int
    webhook_id: str
    url: str
    secret: str
    body: Json
    attempts: int
    """This one included."""

    @property
    def id(self) -> str:
        """The same at every attempt."""
        return delivery_id(self.seq)


def delivery_id(seq: int) -> str:
    """What receivers know a delivery by."""
    return f"whd_{seq}"


def create(
    session: Session,
    *,
    url: str,
    events: Sequence[str],
    labels: Mapping[str, str],
    description: str | None = None,
    api_key_id: str | None = None,
) -> Webhook:
    """A new webhook with a secret of its own. Raises TooManyWebhooksError."""
    count = session.scalar(select(func.count()).select_from(Webhook)) or 0
    if count >= MOST_WEBHOOKS:
        raise TooManyWebhooksError(f"there are {count} webhooks, as many as there may be")
    webhook = Webhook(
        id=new_id("whk"),
        url=url,
        events=list(dict.fromkeys(events)),
        labels=dict(labels),
        secret="whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        description=description,
        api_key_id=api_key_id,
    )
    session.add(webhook)
    session.flush()
    return webhook


def get(session: Session, webhook_id: str) -> Webhook:
    """One webhook. Raises NotFoundError."""
    found = session.get(Webhook, webhook_id)
    if found is None:
        raise NotFoundError(f"no webhook {webhook_id!r}")
    return found


def list_webhooks(session: Session) -> Sequence[Webhook]:
    """All of them, oldest first."""
    return session.scalars(select(Webhook).order_by(Webhook.created_at, Webhook.id)).all()


def remove(session: Session, webhook_id: str) -> None:
    """Forget a webhook and its deliveries. Raises NotFoundError."""
    removed = session.scalar(delete(Webhook).where(Webhook.id == webhook_id).returning(Webhook.id))
    if removed is None:
        raise NotFoundError(f"no webhook {webhook_id!r}")


def ping(session: Session, webhook_id: str) -> WebhookDelivery:
    """A delivery that only tries the way. Raises NotFoundError."""
    get(session, webhook_id)
    delivery = WebhookDelivery(webhook_id=webhook_id, type=PING, body={"type": PING})
    session.add(delivery)
    session.flush()
    return delivery


def deliveries(
    session: Session, webhook_id: str, *, before: int | None = None, limit: int = 100
) -> Sequence[WebhookDelivery]:
    """A webhook's deliveries, newest first, those before `before`. Raises NotFoundError."""
    get(session, webhook_id)
    statement = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    if before is not None:
        statement = statement.where(WebhookDelivery.seq < before)
    return session.scalars(statement.order_by(WebhookDelivery.seq.desc()).limit(limit)).all()


def take_due(session: Session, limit: int, *, busy: Collection[str] = ()) -> list[Due]:
    """Some deliveries whose time has come, one of a webhook and none of the `busy` ones; nobody
    else gets them for a minute."""
    taken: list[Due] = []
    while len(taken) < limit:
        due = _take_one(session, {*busy, *(one.webhook_id for one in taken)})
        if due is None:
            break
        taken.append(due)
    return taken


def _take_one(session: Session, busy: Collection[str]) -> Due | None:
    due = (
        select(WebhookDelivery.seq)
        .where(
            WebhookDelivery.state == "pending",
            WebhookDelivery.next_at <= func.now(),
            WebhookDelivery.webhook_id.not_in(sorted(busy)),
        )
        .order_by(WebhookDelivery.next_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(WebhookDelivery)
        .where(
            WebhookDelivery.seq == due.scalar_subquery(), Webhook.id == WebhookDelivery.webhook_id
        )
        .values(
            attempts=WebhookDelivery.attempts + 1,
            next_at=func.now() + timedelta(seconds=HELD_S),
        )
        .returning(
            WebhookDelivery.seq,
            Webhook.id,
            Webhook.url,
            Webhook.secret,
            WebhookDelivery.body,
            WebhookDelivery.attempts,
        )
        .execution_options(synchronize_session=False)
    )
    row = session.execute(statement).one_or_none()
    return row and Due(*row)


def delivered(session: Session, due: Due, status: int) -> None:
    """The receiver has it."""
    _note(session, due, state="delivered", status=status, error=None, delivered_at=func.now())


def refused(session: Session, due: Due, error: str, status: int | None = None) -> None:
    """It did not arrive: try again later, or give up."""
    if due.attempts > len(DELAYS_S):
        _note(session, due, state="failed", status=status, error=error)
        return
    delay = timedelta(seconds=DELAYS_S[due.attempts - 1])
    _note(session, due, next_at=func.now() + delay, status=status, error=error)


def _note(session: Session, due: Due, **values: object) -> None:
    # Only the newest attempt speaks: a sender that was suspended does not undo a later one.
    session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.seq == due.seq,
            WebhookDelivery.state == "pending",
            WebhookDelivery.attempts == due.attempts,
        )
        .values(**values)
    )
