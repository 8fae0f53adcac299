"""Sweeps in a real database, their trials run by hand or by real worker processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from app.artifacts import Artifacts
from app.db import Base, Checkpoint, Database, Job, Sweep, Trial
from app.domain import JobState, SweepState
from app.jobs.claim import Claim, claim
from app.jobs.finish import finish
from app.jobs.offer import Offer
from app.jobs.outcome import Outcome
from app.jobs.record import record
from app.jobs.workers import register
from app.sweeps.advance import Advancer
from app.sweeps.create import check_spec, create
from app.sweeps.searches import Searches
from gogooku3.data.header import read_header
from gogooku3.events import CheckpointEvent, EpochEvent, Event

REPOSITORY = Path(__file__).parents[2]
SPACE: dict[str, Any] = {
    "optimizer.lr": {"float": [1e-5, 1e-1], "log": True},
    "model.dropout": {"float": [0.0, 0.5]},
}
BASE: dict[str, Any] = {
    "max_epochs": 4,
    "data": {
        "lookback": 5,
        "horizons": [1, 5],
        "split": {"train_end": "2018-06-15", "valid_end": "2018-07-31", "embargo_days": 0},
    },
    "model": {"hidden_size": 8, "fan": {"top_k": 1}, "encoder": {"heads": 2}},
}
REASON = {"class": "user", "code": "broken", "message": "told so", "next_action": None}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic market of 30 stocks and 150 days."""
    from gogooku3.data.build import build
    from gogooku3.data.synth import synthesise

    path = tmp_path_factory.mktemp("caches") / "tiny.arrow"
    market = synthesise(stocks=30, days=150, seed=1, horizons=(1, 5))
    build(market.table, name="tiny", out=path, horizons=(1, 5))
    return path


class Field:
    """What a test of sweeps works with."""

    def __init__(self, home: Path, database: Database, searches: Searches, redis_url: str) -> None:
        self.home = home
        self.redis_url = redis_url
        self.database = database
        self.searches = searches
        self.advancer = Advancer(
            self.database, self.searches, self.caches, Artifacts(self.artifacts)
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        with self.database.session() as session:
            self._worker = register(session, host="test", pid=1, slots=1).id

    @property
    def caches(self) -> Path:
        return self.home / "caches"

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    def spec(self, space: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return {
            "name": "search",
            "dataset": "tiny",
            "config": more.pop("config", BASE),
            "search_space": space or SPACE,
            "n_trials": 4,
            "max_parallel": 2,
            "sampler": {"kind": "random", "seed": 1},
            **more,
        }

    def create(self, space: dict[str, Any] | None = None, **more: Any) -> str:
        given = self.spec(space, **more)
        checked, header = check_spec(given, self.caches)
        with self.database.session() as session:
            return create(session, checked, given=given, header=header).id

    def advance(self, sweep_id: str) -> int:
        return self.advancer.advance(sweep_id)

    def sweep(self, sweep_id: str) -> Sweep:
        with self.database.session() as session:
            return session.get_one(Sweep, sweep_id)

    def trials(self, sweep_id: str) -> list[Trial]:
        with self.database.session() as session:
            statement = select(Trial).where(Trial.sweep_id == sweep_id).order_by(Trial.number)
            return list(session.scalars(statement))

    def jobs(self, sweep_id: str) -> list[Job]:
        with self.database.session() as session:
            statement = select(Job).where(Job.sweep_id == sweep_id)
            return list(session.scalars(statement.order_by(Job.trial_number, Job.seed_index)))

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        with self.database.session() as session:
            statement = select(Checkpoint).where(Checkpoint.job_id == job_id)
            return list(session.scalars(statement.order_by(Checkpoint.epoch)))

    # Runs by hand.

    def claim(self) -> Claim | None:
        with self.database.session() as session:
            return claim(session, worker_id=self._worker, lease_s=60.0, offer=Offer(cpu=[0]))

    def run(self, value: float | None = 0.1, *, epochs: int = 2, **metrics: float | None) -> Claim:
        """Claim the next run and let it succeed with this rank IC."""
        claimed = self.claim()
        assert claimed is not None
        events: list[Event] = []
        for epoch in range(1, epochs + 1):
            told = {"valid/rank_ic": value} | {f"valid/{k}": v for k, v in metrics.items()}
            events.append(EpochEvent(epoch=epoch, metrics=told, duration_s=0.1))
            path = self.artifacts / claimed.job_id / f"epoch-{epoch:04d}.gk3"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            events.append(
                CheckpointEvent(
                    epoch=epoch,
                    path=f"{claimed.job_id}/{path.name}",
                    size=1,
                    sha256="0" * 64,
                    is_best=True,
                    metrics=told,
                )
            )
        with self.database.session() as session:
            record(session, claimed.job_id, claimed.attempt, events)
            finish(session, claimed.job_id, claimed.attempt, outcome=Outcome.SUCCEEDED)
        return claimed

    def end(self, outcome: Outcome) -> Claim:
        """Claim the next run and let it end in another way."""
        claimed = self.claim()
        assert claimed is not None
        with self.database.session() as session:
            reason = REASON if outcome is Outcome.FAILED else None
            finish(session, claimed.job_id, claimed.attempt, outcome=outcome, reason=reason)
        return claimed

    # Runs by worker processes.

    def start_worker(self, *, slots: int = 1, **options: Any) -> subprocess.Popen[bytes]:
        fingerprint = read_header(self.caches / "tiny.arrow").fingerprint
        number = len(self._processes)
        with (self.home / f"worker-{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("plain_worker.py")),
                    str(self.home),
                    self.database.engine.url.render_as_string(hide_password=False),
                    self.redis_url,
                    str(slots),
                    json.dumps({**options, "fingerprint": fingerprint}),
                ],
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                cwd=REPOSITORY,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        return process

    def wait(self, condition: Callable[[], object], timeout_s: float = 120.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self._told()
            time.sleep(0.05)

    def wait_ended(self, sweep_id: str, timeout_s: float = 120.0) -> Sweep:
        self.wait(lambda: self.sweep(sweep_id).state.is_finished, timeout_s)
        return self.sweep(sweep_id)

    def _told(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.home.glob("worker-*.log")))

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@pytest.fixture(scope="module")
def connected(database_url: str) -> Iterator[tuple[Database, Searches]]:
    """The module's database, and its studies: Optuna's tables are made once."""
    database = Database(database_url, pool_size=5)
    searches = Searches(database)
    yield database, searches
    searches.close()
    database.dispose()


@pytest.fixture
def field(
    tmp_path: Path, dataset: Path, connected: tuple[Database, Searches], redis_url: str
) -> Iterator[Field]:
    """A home of its own, and a database with empty tables."""
    database, searches = connected
    (tmp_path / "caches").mkdir()
    shutil.copy(dataset, tmp_path / "caches" / "tiny.arrow")
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with database.session() as session:
        session.execute(text(f"TRUNCATE {tables}"))
    field = Field(tmp_path, database, searches, redis_url)
    try:
        yield field
    finally:
        field.close()


LIVE = {JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}
GOING_ON = {SweepState.RUNNING, SweepState.PAUSED}
