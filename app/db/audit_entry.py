"""The `audit_log` table: every change that somebody made, written with the change itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Identity, Index, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class AuditEntry(Base):
    """A change. Rows are only added, and removed by retention."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_actor_seq", "actor", "seq"),
        Index("ix_audit_log_target_seq", "target", "seq"),
        Index("ix_audit_log_created", "created", postgresql_using="gin"),
        Index("ix_audit_log_at", "at"),
    )

    seq: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    """The API key's id, `open` (a local request without a key) or `cli:USER`."""
    action: Mapped[str]
    """Method and route, such as `POST /v1/jobs/{job_id}/cancel`, or the command."""
    target: Mapped[str | None]
    """What it was done to."""
    created: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """What it made, at most ten ids."""
    request_id: Mapped[str]
    address: Mapped[str | None]
