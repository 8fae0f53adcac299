"""Requests that may be sent again: the same key and body get the stored first answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, insert, select, text, tuple_
from sqlalchemy.orm import Session

from app.db import IdempotencyKey, Json
from app.domain import IdempotencyInFlightError, IdempotencyMismatchError

KEPT = timedelta(hours=48)
_FORGET_AT_ONCE = 20


@dataclass(frozen=True)
class Asked:
    """A request that carries a key."""

    caller: str
    route: str
    key: str
    body_sha256: str

    @property
    def name(self) -> tuple[str, str, str]:
        """Requests of one name are answered once."""
        return self.caller, self.route, self.key


@dataclass(frozen=True)
class StoredAnswer:
    """The answer to the first request with this key."""

    status: int
    response: Json
    headers: dict[str, str]


def begin(session: Session, asked: Asked) -> StoredAnswer | None:
    """The stored answer, or None when this is the first such request: then do the work, and
    `complete` it in the same transaction.

    Raises IdempotencyInFlightError while another transaction is at that work (it never waits),
    IdempotencyMismatchError when the key came with another body.
    """
    if not _lock(session, [asked]):
        raise IdempotencyInFlightError()
    stored = session.get(IdempotencyKey, asked.name)
    if stored is None:
        return None
    if stored.body_sha256 != asked.body_sha256:
        raise IdempotencyMismatchError()
    return StoredAnswer(stored.status, stored.response, stored.headers)


def begin_firsts(session: Session, asked: Collection[Asked]) -> set[Asked]:
    """Those of the requests for which `begin` would return None; of one name, one of them."""
    mine = _lock(session, asked)
    if not mine:
        return set()
    stored = {tuple(name) for name in session.execute(_STORED, _columns(mine))}
    firsts = {one.name: one for one in mine if one.name not in stored}
    return set(firsts.values())


def complete(session: Session, answers: Mapping[Asked, StoredAnswer]) -> None:
    """Keep answers, in the transaction of what they tell of. Also forgets a few old ones."""
    session.execute(
        insert(IdempotencyKey),
        [
            {
                "caller": asked.caller,
                "route": asked.route,
                "key": asked.key,
                "body_sha256": asked.body_sha256,
                "status": answer.status,
                "response": answer.response,
                "headers": answer.headers,
            }
            for asked, answer in answers.items()
        ],
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


def _lock(session: Session, asked: Collection[Asked]) -> list[Asked]:
    """Those of the requests that nobody else is at. Held until the transaction ends, whichever
    way: a first request that fails leaves nothing."""
    listed = list(asked)
    places = session.scalars(_LOCK, _columns(listed))
    return [listed[place - 1] for place in places]


def _columns(asked: Collection[Asked]) -> dict[str, list[str]]:
    return {
        "callers": [one.caller for one in asked],
        "routes": [one.route for one in asked],
        "keys": [one.key for one in asked],
    }


# A unit separator cannot occur in any of the three, so different names stay different.
_NAMES = "unnest(CAST(:callers AS text[]), CAST(:routes AS text[]), CAST(:keys AS text[]))"
_LOCK = text(
    f"""
    SELECT place FROM {_NAMES} WITH ORDINALITY AS asked (caller, route, key, place)
    WHERE pg_try_advisory_xact_lock(
        hashtextextended(caller || chr(31) || route || chr(31) || key, 0))
    """
)
_STORED = text(
    f"""
    SELECT caller, route, key FROM idempotency_keys
    WHERE (caller, route, key) IN (SELECT * FROM {_NAMES})
    """
)
