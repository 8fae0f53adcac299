"""A job's record as the bytes of its streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.api.answers import EventAnswer
from app.api.together import Together
from app.db.database import Database
from app.domain import JobState
from app.jobs import read

BATCH = 500
Place = tuple[str, int]
"""A job's id, and the number of the event that was sent last."""


@dataclass(frozen=True)
class Batch:
    """What came after a place."""

    frames: Sequence[bytes]
    after: int
    """The place after it."""
    is_last: bool
    """Whether nothing can follow."""
    state: JobState


def batches(database: Database) -> Together[Place, Batch]:
    """Reads what comes after a place, once for all who have come as far."""
    return Together(partial(_look, database))


def _look(database: Database, places: Sequence[Place]) -> Mapping[Place, Batch]:
    with database.reading() as session:
        # The states are read first: if one is final, the events read after it are all there are.
        ids = sorted({job_id for job_id, _ in places})
        found = session.execute(_STATES, {"ids": ids})
        states = {job_id: (JobState(state), last) for job_id, state, last in found}
        return {
            (job_id, after): _batch(session, job_id, after, *states[job_id])
            for job_id, after in places
            if job_id in states
        }


def _batch(session: Session, job_id: str, after: int, state: JobState, last_seq: int) -> Batch:
    if last_seq <= after:
        return Batch((), after, state.is_finished, state)
    rows = read.events_after(session, job_id, after, BATCH)
    events = [EventAnswer.model_validate(row) for row in rows]
    return Batch(
        frames=[_frame(event) for event in events],
        after=events[-1].seq if events else after,
        is_last=state.is_finished and len(events) < BATCH,
        state=state,
    )


def _frame(event: EventAnswer) -> bytes:
    return f"id: {event.seq}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n".encode()


_STATES = text("SELECT id, state, last_seq FROM jobs WHERE id = ANY(:ids)")
