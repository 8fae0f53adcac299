"""Who does what: goes along with a request or a command, and is written with what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

_CREATED = "gogooku3.created"
_NAMED = 10
"""Created things that one entry names."""


@dataclass
class Trail:
    """One request or command. Until `actor` is known nothing is written under its name."""

    request_id: str
    address: str | None = None
    """Where it came from."""
    is_change: bool = False
    """Whether it may change something: its transactions that write are told in the audit log."""
    actor: str | None = None
    """The API key's id, `open` (this machine, without a key) or `cli:USER`."""
    action: str = ""
    """What was asked: method and route, or the command."""
    targets: list[str] = field(default_factory=list)
    """The ids in the route."""


_current: ContextVar[Trail | None] = ContextVar("gogooku3_trail", default=None)


def current() -> Trail | None:
    """The trail of the request or command that this code works for."""
    return _current.get()


def current_request_id() -> str | None:
    """Its identifier."""
    trail = _current.get()
    return trail.request_id if trail is not None else None


@contextmanager
def follow(trail: Trail) -> Iterator[Trail]:
    """Work for this request or command until the end of the block."""
    token = _current.set(trail)
    try:
        yield trail
    finally:
        _current.reset(token)


def note_created(session: Session, _context: Any) -> None:
    """Remember the ids of what a flush has added."""
    ids = session.info.setdefault(_CREATED, [])
    ids += [row.id for row in session.new if isinstance(getattr(row, "id", None), str)]


def write(session: Session) -> None:
    """Tell of this transaction in the audit log, as part of it; not if it has written nothing."""
    created = session.info.pop(_CREATED, [])
    trail = _current.get()
    if trail is None or trail.actor is None or not trail.is_change:
        return
    session.flush()
    created += session.info.pop(_CREATED, [])
    session.execute(
        _WRITE,
        {
            "actor": trail.actor,
            "action": trail.action,
            "target": trail.targets[0] if trail.targets else next(iter(created), None),
            "created": created[:_NAMED],
            "request_id": trail.request_id,
            "address": trail.address,
        },
    )


# PostgreSQL itself knows whether a transaction has changed or locked a row.
_WRITE = text(
    """
    INSERT INTO audit_log (actor, action, target, created, request_id, address)
    SELECT :actor, :action, :target, CAST(:created AS text[]), :request_id, :address
    WHERE pg_current_xact_id_if_assigned() IS NOT NULL
    """
)
