"""A worker: takes queued jobs while it has a free slot and runs each to its end."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

from app.domain import NotFoundError
from app.jobs import workers
from app.jobs.builds import sweep_staging
from app.jobs.claim import Claim, claim, queued_count
from app.jobs.reap import Reaped, reap
from app.json_log import bind
from worker.devices import Slot
from worker.outage import first_line, is_outage
from worker.place import Workplace
from worker.remains import sweep_copies
from worker.slots import Slots
from worker.supervisor import Supervisor

logger = logging.getLogger(__name__)


class Host:
    """This process as the database knows it."""

    def __init__(self, place: Workplace, slots: Slots) -> None:
        """Raises sqlalchemy's errors when the database is away: nothing runs yet."""
        self.place = place
        self.slots = slots
        self.worker_id = self._register()
        self._claiming = threading.Lock()
        self._threads: list[threading.Thread] = []

    def work(self) -> None:
        """Run queued jobs, one after another, until none waits; at once if no slot is free.

        Called by whoever hears that a job waits: a doorbell's task, or the poll.
        """
        try:
            ended: str | None = None
            while not self.place.stopping.is_set():
                self._ring(self.place.sweeps.advance(ended) - 1)  # one is for this slot
                claimed_at = time.monotonic()
                taken = self._take()
                if taken is None:
                    return
                claimed, slots = taken
                try:
                    with bind(
                        job_id=claimed.job_id,
                        attempt=claimed.attempt,
                        request_id=claimed.request_id,
                    ):
                        Supervisor(claimed, slots, self.place, claimed_at).run()
                finally:
                    self.slots.give_back(slots)
                ended = claimed.trial.sweep_id if claimed.trial else None
        except Exception as error:
            if not is_outage(error):
                logger.exception("a job was left to the reaper")
            else:
                logger.warning("the database is away: %s", first_line(error))

    def look(self) -> None:
        """Start work in threads of our own if jobs wait and slots are free: what heals a doorbell
        that was lost."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        offer = self.slots.offer()
        if not offer.has_room or self.place.stopping.is_set():
            return
        with self.place.database.session() as session:
            waiting = queued_count(session, offer)
        for _ in range(min(waiting, len({*offer.cpu, *offer.gpu}))):
            thread = threading.Thread(target=self.work, name="work")
            thread.start()
            self._threads.append(thread)

    def advance_sweeps(self) -> None:
        """Move sweeps on: what heals a worker that was killed before it did so."""
        self._ring(self.place.sweeps.advance())

    def analyse_sweeps(self) -> None:
        """Bring the analysis of a sweep up to date."""
        self.place.sweeps.analyse()

    def prepare(self) -> None:
        """Keep a trainer ready for each slot."""
        if self.place.spares is not None and not self.place.stopping.is_set():
            self.place.spares.refill()

    def sweep(self) -> None:
        """Remove what the builds of workers that are gone have left behind."""
        with self.place.database.session() as session:
            for name in sweep_staging(session, self.place.caches):
                logger.warning("removed what the attempt %s had left behind", name)
        for job_id in sweep_copies(self.place.database, self.place.artifacts):
            logger.warning("removed this machine's copies of what %s left behind", job_id)

    def beat(self) -> None:
        """Say that this worker is alive and what it runs."""
        try:
            with self.place.database.session() as session:
                workers.heartbeat(session, self.worker_id, self.slots.current())
        except NotFoundError:
            self.worker_id = self._register()

    def reap(self) -> list[Reaped]:
        """Take back the jobs of workers that are gone."""
        with self.place.database.session() as session:
            reaped = reap(session)
        for job in reaped:
            logger.warning("%s attempt %s lost its lease: %s", job.job_id, job.attempt, job.state)
            # Listeners look the events up themselves: any number tells them to.
            self.place.wake.publish(job.job_id, 0)
        return reaped

    def leave(self) -> None:
        """Wait for the threads of `look`, and say that this worker has ended."""
        for thread in self._threads:
            thread.join()
        try:
            with self.place.database.session() as session:
                workers.stop(session, self.worker_id)
        except Exception as error:
            if not isinstance(error, NotFoundError) and not is_outage(error):
                raise
            logger.warning("the end of this worker is not recorded: %s", first_line(error))

    def _ring(self, queued: int) -> None:
        if self.place.doorbell is not None:
            for _ in range(queued):
                self.place.doorbell.ring()

    def _register(self) -> str:
        with self.place.database.session() as session:
            worker = workers.register(
                session,
                host=socket.gethostname(),
                pid=os.getpid(),
                slots=self.slots.count,
                gpus=self.slots.gpus,
            )
            return worker.id

    def _take(self) -> tuple[Claim, tuple[Slot, ...]] | None:
        """A job and the slots for it; None when none waits that there is room for."""
        # Claimed one at a time: what one thread is given room for, no other may be.
        with self._claiming:
            offer = self.slots.offer()
            if not offer.has_room:
                return None
            with self.place.database.session() as session:
                claimed = claim(
                    session, worker_id=self.worker_id, lease_s=self.place.lease_s, offer=offer
                )
            if claimed is None:
                return None
            slots = self.slots.take(claimed.slots, claimed.job_id, claimed.attempt)
        logger.info("%s attempt %s claimed", claimed.job_id, claimed.attempt)
        self.place.wake.publish(claimed.job_id, 0)
        return claimed, slots
