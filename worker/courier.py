"""Brings what a child writes into the shared store, and hands each event on when its files are
there."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator

from app.artifacts import Artifacts, MissingFileError, StoreAwayError
from gogooku3.events import CheckpointEvent, EpochEvent, Event, ProgressEvent, ResumePointEvent
from gogooku3.outputs import FILES

LOG_S = 10.0
"""The log is brought at least this often while it grows ..."""
LOG_SHARE = 0.05
"""... unless that would take more than this share of the time."""
RETRY_S = 2.0
logger = logging.getLogger(__name__)


class Courier:
    """One attempt's, with a thread of its own: neither the lease nor the child waits for it.

    Uploads come before records: whoever is told of a file finds it, and a file whose attempt is
    killed in between is known to nobody.
    """

    def __init__(self, artifacts: Artifacts, job_id: str, attempt: int) -> None:
        self.trouble: str | None = None
        """What keeps it from going on; None = nothing does."""
        self._artifacts = artifacts
        self._log = f"{job_id}/log.txt"
        self._outputs = [f"{job_id}/attempt-{attempt}/{name}" for name in FILES]
        self._brought: dict[str, tuple[int, int]] = {}
        """Size and time of change of what was brought last, by place."""
        self._waiting: deque[Event | None] = deque()
        """None stands for the log."""
        self._there: deque[Event] = deque()
        self._changed = threading.Condition()
        self._is_ended = False
        self._log_at = 0.0

    def begin(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="courier", daemon=True).start()

    def take(self, event: Event) -> None:
        """Bring the event's files; events keep their order."""
        with self._changed:
            newest = self._waiting[-1] if self._waiting else None
            overtakes = isinstance(newest, ProgressEvent) and isinstance(event, ProgressEvent)
            # The first may be under way already.
            if overtakes and len(self._waiting) > 1:
                self._waiting.pop()
            self._waiting.append(event)
            self._changed.notify()

    def take_log(self) -> None:
        """Bring the log as it is now, after everything else."""
        with self._changed:
            self._waiting.append(None)
            self._changed.notify()

    def handed(self) -> list[Event]:
        """The events whose files have arrived since the last call."""
        with self._changed:
            arrived = list(self._there)
            self._there.clear()
            return arrived

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be brought."""
        with self._changed:
            return not self._waiting

    def end(self) -> None:
        """Give up what has not been brought."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._is_ended:
                    self._changed.wait(LOG_S)
                if self._is_ended:
                    return
                has_item = bool(self._waiting)
                item = self._waiting[0] if has_item else None
            if has_item:
                is_there = all(self._bring(path) for path in self._files_of(item))
                with self._changed:
                    self._waiting.popleft()
                    if item is not None and is_there:
                        self._there.append(item)
            if time.monotonic() >= self._log_at:
                self._bring_log()

    def _files_of(self, item: Event | None) -> Iterator[str]:
        if item is None:
            yield self._log
        elif isinstance(item, CheckpointEvent | ResumePointEvent):
            yield item.path
        elif isinstance(item, EpochEvent):
            for path in self._outputs:
                if self._state(path) not in (None, self._brought.get(path)):
                    yield path

    def _bring(self, path: str) -> bool:
        """Until it is there; False when it cannot be, or need not any more."""
        while not self._is_ended:
            state = self._state(path)
            try:
                self._artifacts.publish(path)
            except MissingFileError:
                logger.warning("%s was gone before it was brought to the store", path)
                return False
            except (StoreAwayError, OSError) as error:
                if self.trouble is None:
                    logger.warning("%s", error)
                self.trouble = str(error)
                with self._changed:
                    self._changed.wait(RETRY_S)
            else:
                self.trouble = None
                if state is not None:
                    self._brought[path] = state
                return True
        return False

    def _bring_log(self) -> None:
        """If it has grown; whatever keeps it from being brought is for the next time."""
        state = self._state(self._log)
        began = time.monotonic()
        if state is not None and state != self._brought.get(self._log):
            try:
                self._artifacts.publish(self._log)
                self._brought[self._log] = state
            except (MissingFileError, StoreAwayError, OSError) as error:
                logger.debug("the log was not brought: %s", error)
        took = time.monotonic() - began
        self._log_at = time.monotonic() + max(LOG_S, took / LOG_SHARE)

    def _state(self, path: str) -> tuple[int, int] | None:
        try:
            found = (self._artifacts.folder / path).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
