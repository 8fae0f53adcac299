"""What all attempts of a worker share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.artifacts import Artifacts
from app.broker.doorbell import Doorbell
from app.broker.wake import Wake
from app.db import Database
from worker.child import BUILDER, TRAINER
from worker.spares import Spares
from worker.sweeps import Sweeps


@dataclass(frozen=True)
class Workplace:
    """Where a worker works, and with what."""

    database: Database
    wake: Wake
    caches: Path
    data: Path
    """The tables that datasets are built from."""
    artifacts: Artifacts
    lease_s: float
    stopping: threading.Event
    """Set when the worker shuts down."""
    doorbell: Doorbell | None = None
    """Tells other workers of runs that a sweep has queued; without it they find them by looking."""
    trainer: Sequence[str] = TRAINER
    builder: Sequence[str] = BUILDER
    spares: Spares | None = None
    """Trainers that wait with torch loaded; None = each job starts its own."""
    grace_s: float = 30.0
    """Time a trainer has to write its resume state before it is killed."""

    @cached_property
    def sweeps(self) -> Sweeps:
        """This worker's part in sweeps."""
        return Sweeps(self.database, self.caches, self.artifacts)
