"""Lists of jobs: filters, orders and pages that stay right while jobs come and go."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, TypeAdapter
from sqlalchemy import ColumnElement, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session, defer

from app.db import Job
from app.domain import InvalidSpecError, JobState
from gogooku3.config import Problem

_ORDERS: dict[str, InstrumentedAttribute[Any]] = {
    "created_at": Job.created_at,
    "priority": Job.priority,
    "name": Job.name,
}
_Text = Annotated[str, Field(strict=True, pattern=r"^[^\x00]*$")]
_Time = Annotated[AwareDatetime, Field(strict=True)]
_Number = Annotated[int, Field(strict=True, ge=-(2**62), le=2**62)]
_TOKENS: dict[str, TypeAdapter[tuple[str, Any, str]]] = {
    "created_at": TypeAdapter(tuple[_Text, _Time, _Text]),
    "priority": TypeAdapter(tuple[_Text, _Number, _Text]),
    "name": TypeAdapter(tuple[_Text, _Text, _Text]),
}
LEFT_OUT = [
    defer(column, raiseload=True)
    for column in (
        Job.spec,
        Job.config,
        Job.config_sources,
        Job.resources,
        Job.limits,
        Job.provenance,
    )
]
"""Options of a query of jobs: what no list shows, most of a row's bytes."""
ORDERS = tuple(sign + name for name in _ORDERS for sign in ("", "-"))
"""What `order_by` may be; a minus sign turns the order around."""


@dataclass(frozen=True)
class JobFilter:
    """Which jobs; every condition that is given must hold."""

    states: Sequence[JobState] = ()
    """One of these."""
    kind: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """All of these."""
    dataset: str | None = None
    created_after: datetime | None = None
    """Later than this."""
    created_before: datetime | None = None
    q: str | None = None
    """Part of the name or of the note, in any case, or the whole id."""
    sweep_id: str | None = None

    def __hash__(self) -> int:
        # A mapping has no hash of its own.
        return hash((self.states, self.kind, frozenset(self.labels.items()), self.dataset, self.q))


@dataclass(frozen=True)
class JobPage:
    """Some jobs, by id and version, and the token of the next page if there is one."""

    items: list[tuple[str, int]]
    next_page_token: str | None


def list_jobs(
    session: Session,
    where: JobFilter | None = None,
    *,
    order_by: str = "-created_at",
    page_size: int = 50,
    page_token: str | None = None,
) -> JobPage:
    """A page of jobs. Each page goes on behind the last row of the one before, so jobs that are
    added or change in between neither repeat nor hide others.

    Raises InvalidSpecError for an unknown order, or a token of another list.
    """
    where = where or JobFilter()
    column = _ORDERS.get(order_by.removeprefix("-"))
    if column is None:
        message = f"cannot order by {order_by!r}; known are: {', '.join(ORDERS)}"
        raise InvalidSpecError([Problem("/query/order_by", "unknown-order", message)])
    descending = order_by.startswith("-")
    conditions = _conditions(where)
    bound_to = _fingerprint(where, order_by)
    if page_token is not None:
        last = tuple_(*_read_token(page_token, bound_to, order_by))
        place = tuple_(column, Job.id)
        conditions.append(place < last if descending else place > last)
    ordered = (column.desc(), Job.id.desc()) if descending else (column, Job.id)
    statement = select(Job.id, Job.version, column).where(*conditions).order_by(*ordered)
    rows = session.execute(statement.limit(page_size + 1)).all()
    items = [(job_id, version) for job_id, version, _ in rows[:page_size]]
    token = None
    if len(rows) > page_size:
        last_id, _, place = rows[page_size - 1]
        token = _token(bound_to, place, last_id)
    return JobPage(items, token)


def _conditions(where: JobFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if where.states:
        conditions.append(Job.state.in_(where.states))
    if where.kind is not None:
        conditions.append(Job.kind == where.kind)
    if where.labels:
        conditions.append(Job.labels.contains(dict(where.labels)))
    if where.dataset is not None:
        conditions.append(Job.dataset == where.dataset)
    if where.created_after is not None:
        conditions.append(Job.created_at > where.created_after)
    if where.created_before is not None:
        conditions.append(Job.created_at < where.created_before)
    if where.sweep_id is not None:
        conditions.append(Job.sweep_id == where.sweep_id)
    if where.q:
        conditions.append(
            or_(
                Job.name.icontains(where.q, autoescape=True),
                Job.note.icontains(where.q, autoescape=True),
                Job.id == where.q,
            )
        )
    return conditions


def _fingerprint(where: JobFilter, order_by: str) -> str:
    text = json.dumps([asdict(where), order_by], default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _token(bound_to: str, value: Any, job_id: str) -> str:
    plain = value.isoformat() if isinstance(value, datetime) else value
    text = json.dumps([bound_to, plain, job_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str, bound_to: str, order_by: str) -> tuple[Any, str]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        kind = _TOKENS[order_by.removeprefix("-")]
        owner, value, job_id = kind.validate_json(text)
    except ValueError as error:
        raise _invalid_token("is not one of ours") from error
    if owner != bound_to:
        raise _invalid_token("belongs to a list with other filters or another order")
    return value, job_id


def _invalid_token(what: str) -> InvalidSpecError:
    message = f"this page token {what}; ask for the first page again, without a token"
    return InvalidSpecError([Problem("/query/page_token", "invalid-page-token", message)])
