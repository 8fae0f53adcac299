"""The `idempotency_keys` table: the first answer to a request that may be sent again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Json


class IdempotencyKey(Base):
    """An answer, saved in the transaction that created what it tells of."""

    __tablename__ = "idempotency_keys"

    caller: Mapped[str] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    status: Mapped[int]
    response: Mapped[Json]
    headers: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
