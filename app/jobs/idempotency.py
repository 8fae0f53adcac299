"""Requests that may be sent again: the same key and body get the stored first answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, insert, select, tuple_
from sqlalchemy.orm import Session

from app.db import IdempotencyKey, Json
from app.domain import IdempotencyInFlightError, IdempotencyMismatchError

KEPT = timedelta(hours=48)
_FORGET_AT_ONCE = 20


@dataclass(frozen=True)
class StoredAnswer:
    """The answer to the first request with this key."""

    status: int
    response: Json
    headers: dict[str, str]


def begin(
    session: Session, *, caller: str, route: str, key: str, body_sha256: str
) -> StoredAnswer | None:
    """The stored answer, or None when this is the first such request: then do the work, and
    `complete` it in the same transaction.

    Raises IdempotencyInFlightError while another transaction is at that work (it never waits),
    IdempotencyMismatchError when the key came with another body.
    """
    # Held until the transaction ends, whichever way: a first request that fails leaves nothing.
    # A unit separator cannot occur in any of the three, so different names stay different.
    name = "\x1f".join((caller, route, key))
    lock = func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0))
    if not session.scalar(select(lock)):
        raise IdempotencyInFlightError()
    stored = session.get(IdempotencyKey, (caller, route, key))
    if stored is None:
        return None
    if stored.body_sha256 != body_sha256:
        raise IdempotencyMismatchError()
    return StoredAnswer(stored.status, stored.response, stored.headers)


def complete(
    session: Session,
    *,
    caller: str,
    route: str,
    key: str,
    body_sha256: str,
    status: int,
    response: Json,
    headers: dict[str, str],
) -> None:
    """Keep the answer, in the transaction of what it tells of. Also forgets a few old answers."""
    session.execute(
        insert(IdempotencyKey).values(
            caller=caller,
            route=route,
            key=key,
            body_sha256=body_sha256,
            status=status,
            response=response,
            headers=headers,
        )
    )
    identity = (IdempotencyKey.caller, IdempotencyKey.route, IdempotencyKey.key)
    old = (
        select(*identity)
        .where(IdempotencyKey.created_at < func.now() - KEPT)
        .limit(_FORGET_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    session.execute(
        delete(IdempotencyKey)
        .where(tuple_(*identity).in_(old))
        .execution_options(synchronize_session=False)
    )
