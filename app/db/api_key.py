"""The `api_keys` table: who may use the server. Only a hash of each key is kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Enum, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.domain import Scope


class ApiKey(Base):
    """A key, its scope and its limits."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    scope: Mapped[Scope] = mapped_column(
        Enum(
            Scope,
            name="scope",
            native_enum=False,
            create_constraint=True,
            length=16,
            values_callable=lambda scopes: [scope.value for scope in scopes],
        )
    )
    hash: Mapped[str] = mapped_column(unique=True)
    """SHA-256 of the key: it is 256 random bits, so a slow hash would protect nothing more."""
    prefix: Mapped[str]
    """First characters of the key, to tell keys apart."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    max_queued: Mapped[int | None]
    max_running: Mapped[int | None]
    requests_per_minute: Mapped[int | None]
    """null = what the settings say, 0 = no limit."""
