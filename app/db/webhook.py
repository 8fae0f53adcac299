"""The `webhooks` and `webhook_deliveries` tables: who wants to hear of what, and who has."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Json


class Webhook(Base):
    """An address that is told of events."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """Types such as `job.failed`."""
    labels: Mapped[Json]
    """Only of jobs that have all of these."""
    secret: Mapped[str]
    """Signs what is sent; it must be readable to sign."""
    description: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    api_key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))


class WebhookDelivery(Base):
    """One event for one webhook. A trigger on `events` adds the row in the event's own transaction,
    so none is forgotten, whoever wrote the event."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state"),
        Index(
            "ix_webhook_deliveries_due",
            "next_at",
            postgresql_where=text("state = 'pending'"),
        ),
        Index("ix_webhook_deliveries_webhook_id_seq", "webhook_id", "seq"),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    seq: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    type: Mapped[str]
    body: Mapped[Json]
    """What is sent, the same at every attempt."""
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    """pending | delivered | failed (given up)."""
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When to try next; while one tries, when another may take its place."""
    status: Mapped[int | None]
    """HTTP status of the newest answer."""
    error: Mapped[str | None]
    """Why the newest attempt did not arrive."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    delivered_at: Mapped[datetime | None]
