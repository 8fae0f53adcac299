"""A worker's part in sweeps: moving them on, pruning, analysing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.artifacts import Artifacts
from app.db import Database
from app.jobs.submit import TrialRun
from app.sweeps.due import due, stale
from gogooku3.events import EpochEvent
from worker.outage import first_line, is_outage

if TYPE_CHECKING:
    from app.sweeps.advance import Advancer
    from app.sweeps.analysis import Analyst
    from app.sweeps.judge import Judge
    from app.sweeps.searches import Searches

ANALYSIS_SHARE = 0.05
"""Share of a worker's time that the analysis of running sweeps may take."""
FIRST_REST_S = 4.0
LONGEST_REST_S = 300.0
logger = logging.getLogger(__name__)


@dataclass
class Rests:
    """Sweeps that something went wrong with: each is left alone for a while, every time for twice
    as long, so that it does not keep a worker from the others. Used from any thread."""

    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _rests: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By sweep: how long it rests, and until when."""

    def awake(self, sweep_ids: Sequence[str]) -> list[str]:
        """Those that do not rest now."""
        now = self.clock()
        with self._lock:
            return [one for one in sweep_ids if self._rests.get(one, (0.0, now))[1] <= now]

    def failed(self, sweep_id: str) -> None:
        """Let it rest."""
        with self._lock:
            last_s, _ = self._rests.get(sweep_id, (FIRST_REST_S / 2, 0.0))
            rest_s = min(2 * last_s, LONGEST_REST_S)
            self._rests[sweep_id] = rest_s, self.clock() + rest_s

    def worked(self, sweep_id: str) -> None:
        """Forget what went wrong before."""
        with self._lock:
            self._rests.pop(sweep_id, None)


@dataclass(frozen=True)
class _Parts:
    searches: Searches
    advancer: Advancer
    judge: Judge
    analyst: Analyst


@dataclass
class Sweeps:
    """Used from all of a worker's threads. Optuna is loaded when there is a sweep to move on."""

    database: Database
    caches: Path
    artifacts: Artifacts
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _loaded: _Parts | None = None
    _rests_until: float = 0.0
    _unmoved: Rests = field(default_factory=Rests)
    _unanalysed: Rests = field(default_factory=Rests)

    def advance(self, ended: str | None = None) -> int:
        """Move on what can be moved on; returns how many runs were queued for workers to take.

        `ended`: the sweep of which this caller has just ended a run: it waits for its turn there,
        so that the next run is there when it looks. Whatever goes wrong is for the next time.
        """
        try:
            with self.database.session() as session:
                waiting = due(session)
        except Exception as error:
            _log("sweeps were not moved on", error)
            return 0
        return sum(
            self._advance(sweep_id, is_waiting=sweep_id == ended)
            for sweep_id in self._unmoved.awake(waiting)
        )

    def should_prune(self, run: TrialRun, epochs: Sequence[EpochEvent], folder: str) -> bool:
        """Whether a trial is too bad to go on; false when that cannot be found out now."""
        try:
            return self._parts.judge.should_prune(run, epochs, folder)
        except Exception as error:
            _log(f"{run.sweep_id} trial {run.number} was not judged", error)
            return False

    def analyse(self) -> None:
        """Bring one analysis up to date: of an ended sweep at once, else now and then."""
        rests = time.monotonic() < self._rests_until
        with self.database.session() as session:
            found = self._unanalysed.awake(stale(session, ended_only=rests))
        if not found:
            return
        began = time.monotonic()
        for sweep_id in found:
            if self._analyse(sweep_id):
                break
        took = time.monotonic() - began
        self._rests_until = time.monotonic() + took * (1 / ANALYSIS_SHARE - 1)

    def close(self) -> None:
        """Close the connections of the studies."""
        with self._lock:
            if self._loaded is not None:
                self._loaded.searches.close()

    def _advance(self, sweep_id: str, *, is_waiting: bool) -> int:
        """Move one sweep on; returns how many runs were queued, as far as that is known."""
        try:
            queued = self._parts.advancer.advance(sweep_id, is_waiting=is_waiting)
        except Exception as error:
            _log(f"{sweep_id} was not moved on", error)
            self._unmoved.failed(sweep_id)
            return 0
        self._unmoved.worked(sweep_id)
        return queued

    def _analyse(self, sweep_id: str) -> bool:
        """Bring a sweep's analysis up to date; answers whether that went well."""
        try:
            self._parts.analyst.analyse(sweep_id)
        except Exception as error:
            _log(f"{sweep_id} was not analysed", error)
            self._unanalysed.failed(sweep_id)
            return False
        self._unanalysed.worked(sweep_id)
        return True

    @property
    def _parts(self) -> _Parts:
        with self._lock:
            if self._loaded is None:
                # Optuna takes a second to load: a worker without sweeps does without it.
                from app.sweeps.advance import Advancer
                from app.sweeps.analysis import Analyst
                from app.sweeps.judge import Judge
                from app.sweeps.searches import Searches

                searches = Searches(self.database)
                self._loaded = _Parts(
                    searches,
                    Advancer(self.database, searches, self.caches, self.artifacts),
                    Judge(self.database, searches, self.artifacts),
                    Analyst(self.database, searches, self.artifacts),
                )
            return self._loaded


def _log(what: str, error: Exception) -> None:
    if is_outage(error):
        logger.warning("%s, the database is away: %s", what, first_line(error))
    else:
        logger.exception("%s", what)
