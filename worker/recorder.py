"""What an attempt tells the database: its events in batches, its lease, its end.

No transaction is open while the child works, and the database may be away for as long as the lease
lasts: events wait here, and the child goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from app.artifacts import StoreAwayError
from app.domain import StaleLeaseError
from app.jobs.claim import Claim
from app.jobs.finish import finish
from app.jobs.lease import Orders, renew
from app.jobs.record import record
from gogooku3.events import EpochEvent, Event, ProgressEvent, StageEvent, WarningEvent
from worker.classify import Ending
from worker.courier import Courier
from worker.outage import first_line, is_outage
from worker.place import Workplace

FLUSH_S = 0.5
"""Events are recorded at least this often, several in one transaction ..."""
EPOCH_FLUSH_S = 0.1
"""... and sooner when an epoch is among them: that is what people wait for."""
BATCH = 500
HOLD_S = 1.0
"""The lease is renewed this often while something else is waited for."""
TICK_S = 0.1
RETRY_S = 0.5
SHUTDOWN_PATIENCE_S = 10.0
"""How long a worker that shuts down waits for a database or a store that is away."""
STORE_PATIENCE_S = 300.0
"""How long an ended child's files wait for a store that is away."""
Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


class Recorder:
    """Of one attempt; used from the supervisor's thread only."""

    def __init__(self, claim: Claim, place: Workplace, claimed_at: float) -> None:
        self.renewed_at = claimed_at
        """Begin of the transaction that renewed the lease last (time.monotonic())."""
        self.is_stale = False
        """Whether the lease is lost: nothing more is recorded."""
        self._claim = claim
        self._place = place
        self._buffer: list[Event] = []
        self._flushed_at = time.monotonic()
        self._is_away = False
        self._courier: Courier | None = None
        if place.artifacts.is_shared:
            self._courier = Courier(place.artifacts, claim.job_id, claim.attempt)

    @property
    def name(self) -> str:
        """The attempt, for logs."""
        return f"{self._claim.job_id} attempt {self._claim.attempt}"

    def begin(self) -> None:
        """Be ready for events."""
        if self._courier is not None:
            self._courier.begin()

    def add(self, event: Event) -> None:
        """Record an event before long; one that tells of files, when everybody can see them."""
        if self._courier is not None:
            self._courier.take(event)
            return
        self._append(event)

    def warn(self, code: str, message: str) -> None:
        """Record a warning of our own."""
        self.add(WarningEvent(code=code, message=message))

    def forget(self) -> None:
        """Drop what waits to be recorded."""
        self._buffer.clear()

    def flush_if_due(self) -> Sequence[Event]:
        """Record what waits, unless that was done a moment ago; answers what was recorded."""
        self._collect()
        has_epoch = any(isinstance(event, EpochEvent) for event in self._buffer)
        patience = EPOCH_FLUSH_S if has_epoch and not self._is_away else FLUSH_S
        if not self._buffer or time.monotonic() - self._flushed_at < patience:
            return ()
        recorded = self._flush()
        self._flushed_at = time.monotonic()
        return recorded

    def hold(self) -> Orders | None:
        """Renew the lease and hear the user; None when neither could be done."""
        at = time.monotonic()
        orders = self._transact(
            lambda session: renew(
                session, self._claim.job_id, self._claim.attempt, self._place.lease_s
            )
        )
        if orders is not None:
            self.renewed_at = at
        return orders

    def meanwhile(self, act: Callable[[], Answer]) -> Answer:
        """What `act` answers, which may wait for the store: the lease is held all the time."""
        if self._courier is None:
            return act()
        with ThreadPoolExecutor(1) as pool:
            acting = pool.submit(act)
            while not wait([acting], timeout=HOLD_S).done:
                self.hold()
            return acting.result()

    def deliver(self) -> None:
        """Wait until all that the ended child has left can be seen by everybody.

        Raises StoreAwayError when the store is away for too long.
        """
        if self._courier is None:
            return
        self._courier.take_log()
        began = held_at = time.monotonic()
        while not self._courier.is_idle and not self.is_stale:
            time.sleep(TICK_S)
            self.flush_if_due()
            now = time.monotonic()
            if now - held_at >= HOLD_S:
                self.hold()
                held_at = now
            patience = SHUTDOWN_PATIENCE_S if self._place.stopping.is_set() else STORE_PATIENCE_S
            if self._courier.trouble is not None and now - began > patience:
                raise StoreAwayError(self._courier.trouble)
        self._collect()

    def settle(self, ending: Ending, complete: Callable[[Session, Ending], Ending]) -> None:
        """Record the last events and the end together, however long the database takes.

        `complete` is what the ending brings about, in the same transaction.
        """
        began = time.monotonic()

        def end(session: Session) -> int:
            if self._buffer:
                self._record(len(self._buffer), session)
            final = complete(session, ending)
            job = finish(
                session,
                self._claim.job_id,
                self._claim.attempt,
                outcome=final.outcome,
                reason=final.reason,
                exit_code=final.exit_code,
            )
            logger.info("%s: the job is %s", self.name, job.state.value)
            return job.last_seq

        while not self.is_stale:
            last_seq = self._transact(end)
            if last_seq is not None:
                self._place.wake.publish(self._claim.job_id, last_seq)
                return
            if self._place.stopping.wait(RETRY_S):
                if time.monotonic() - began > SHUTDOWN_PATIENCE_S:
                    logger.error("%s: its end is not recorded: the reaper's to do", self.name)
                    return
                time.sleep(RETRY_S)

    def end(self) -> None:
        """Nothing more will come."""
        if self._courier is not None:
            self._courier.end()

    def _append(self, event: Event) -> None:
        kinds = ProgressEvent | StageEvent
        if self._buffer and isinstance(self._buffer[-1], kinds) and isinstance(event, kinds):
            self._buffer.pop()  # only the newest matters, and an outage must not pile them up
        self._buffer.append(event)

    def _collect(self) -> None:
        if self._courier is not None:
            for event in self._courier.handed():
                self._append(event)

    def _flush(self) -> list[Event]:
        """In short transactions; what cannot be recorded now keeps waiting."""
        recorded: list[Event] = []
        while self._buffer and not self.is_stale:
            count = min(len(self._buffer), BATCH)
            last_seq = self._transact(partial(self._record, count))
            if last_seq is None:
                break
            recorded += self._buffer[:count]
            del self._buffer[:count]
            self._place.wake.publish(self._claim.job_id, last_seq)
        return recorded

    def _record(self, count: int, session: Session) -> int:
        return record(session, self._claim.job_id, self._claim.attempt, self._buffer[:count])

    def _transact(self, act: Callable[[Session], Answer]) -> Answer | None:
        """One transaction; None when the database is away or the lease is lost."""
        try:
            with self._place.database.session() as session:
                answer = act(session)
            self._is_away = False
            return answer
        except StaleLeaseError as error:
            logger.warning("%s: %s", self.name, error)
            self.is_stale = True
        except Exception as error:
            if not is_outage(error):
                raise
            if not self._is_away:
                logger.warning("%s: the database is away: %s", self.name, first_line(error))
            self._is_away = True
        return None
