"""The API keys that were presented a moment ago: not every request asks the database."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from app.db.database import Database
from app.domain import Scope
from app.jobs import keys

KEPT_S = 2.0
"""A revoked key works this much longer at most."""
MOST_KEPT = 1000


@dataclass(frozen=True)
class KnownKey:
    """What a request needs to know of a valid key."""

    id: str
    scope: Scope
    requests_per_minute: int | None
    expires_at: datetime | None


class Keyring:
    """Made once per process, used from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, KnownKey]] = {}

    def known(self, secret: str) -> KnownKey | None:
        """The key of this secret, if it was asked for a moment ago. Never waits."""
        until, key = self._known.get(_name(secret), (0.0, None))
        if key is None or time.monotonic() >= until or _has_expired(key):
            return None
        return key

    def authenticate(self, secret: str) -> KnownKey:
        """The key of this secret. Raises UnauthenticatedError; that is never remembered."""
        key = self.known(secret)
        if key is not None:
            return key
        with self._database.session() as session:
            row = keys.authenticate(session, secret)
            key = KnownKey(row.id, Scope(row.scope), row.requests_per_minute, row.expires_at)
        if len(self._known) >= MOST_KEPT:
            self._known.clear()
        self._known[_name(secret)] = (time.monotonic() + KEPT_S, key)
        return key


def _name(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _has_expired(key: KnownKey) -> bool:
    return key.expires_at is not None and key.expires_at <= datetime.now(UTC)
