"""API keys: made once, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.db import ApiKey
from app.domain import NotFoundError, Scope, UnauthenticatedError, new_id

PREFIX = "gk_"
_SHOWN = len(PREFIX) + 6
_USED_EVERY = timedelta(seconds=60)
"""Coarse on purpose: a write for each request would make requests of one key wait in a row."""


def create(
    session: Session,
    name: str,
    scope: Scope,
    *,
    expires_at: datetime | None = None,
    max_queued: int | None = None,
    max_running: int | None = None,
    requests_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key: its row, and the secret itself, which cannot be read again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        id=new_id("key"),
        name=name,
        scope=scope,
        hash=_hash(secret),
        prefix=secret[:_SHOWN],
        expires_at=expires_at,
        max_queued=max_queued,
        max_running=max_running,
        requests_per_minute=requests_per_minute,
    )
    session.add(key)
    session.flush()
    return key, secret


def list_keys(session: Session) -> Sequence[ApiKey]:
    """All keys, oldest first, the revoked ones too."""
    return session.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.id)).all()


def revoke(session: Session, key_id: str) -> ApiKey:
    """Make a key useless from now on; revoking twice is fine. Raises NotFoundError."""
    key = session.scalar(select(ApiKey).where(ApiKey.id == key_id).with_for_update(key_share=True))
    if key is None:
        raise NotFoundError(f"no API key {key_id!r}")
    if key.revoked_at is None:
        key.revoked_at = func.now()
        session.flush()
        session.refresh(key)
    return key


def authenticate(session: Session, secret: str) -> ApiKey:
    """The key behind a presented secret.

    Raises UnauthenticatedError, without saying which, for an unknown, expired or revoked one.
    """
    key = session.scalar(select(ApiKey).where(ApiKey.hash == _hash(secret), _is_usable()))
    if key is None:
        raise UnauthenticatedError()
    _note_use(session, key.id)
    return key


def any_usable(session: Session) -> bool:
    """Whether there is a key that is neither revoked nor expired."""
    return bool(session.scalar(select(exists().where(_is_usable()))))


def _is_usable() -> ColumnElement[bool]:
    return and_(
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
    )


def _note_use(session: Session, key_id: str) -> None:
    is_old = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - _USED_EVERY)
    # Whoever finds the row locked leaves the note to whoever holds it.
    free = (
        select(ApiKey.id)
        .where(ApiKey.id == key_id, is_old)
        .with_for_update(skip_locked=True, key_share=True)
        .scalar_subquery()
    )
    session.execute(
        update(ApiKey)
        .where(ApiKey.id == free)
        .values(last_used_at=func.now())
        .execution_options(synchronize_session=False)
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
