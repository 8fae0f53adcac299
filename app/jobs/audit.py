"""Read the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.db import AuditEntry


@dataclass(frozen=True)
class AuditFilter:
    """Which entries; every condition that is given must hold."""

    actor: str | None = None
    target: str | None = None
    """What was changed or made."""
    after: datetime | None = None
    """Not older than this."""
    before: int | None = None
    """With a smaller `seq`."""


def entries(session: Session, where: AuditFilter, limit: int) -> Sequence[AuditEntry]:
    """Newest first, at most `limit`."""
    statement = select(AuditEntry)
    if where.actor is not None:
        statement = statement.where(AuditEntry.actor == where.actor)
    if where.target is not None:
        made = AuditEntry.created.contains([where.target])
        statement = statement.where(or_(AuditEntry.target == where.target, made))
    if where.after is not None:
        statement = statement.where(AuditEntry.at >= where.after)
    if where.before is not None:
        statement = statement.where(AuditEntry.seq < where.before)
    return session.scalars(statement.order_by(AuditEntry.seq.desc()).limit(limit)).all()
