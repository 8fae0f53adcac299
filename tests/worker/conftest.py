"""A home with a small dataset, jobs in a database of the test's own, and real worker processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.broker.wake import Wake
from app.db import Attempt, Checkpoint, Database, Job, JobEvent
from app.domain import JobState
from app.jobs.check import check_spec
from app.jobs.claim import claim
from app.jobs.submit import submit
from app.jobs.workers import register
from worker.devices import Slot
from worker.place import Workplace
from worker.slots import Slots
from worker.supervisor import Supervisor

REPOSITORY = Path(__file__).parents[2]
SCRIPTED = Path(__file__).with_name("scripted_trainer.py")
SLOT = Slot(0, None)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic market of 30 stocks and 150 days."""
    from gogooku3.data.build import build
    from gogooku3.data.synth import synthesise

    path = tmp_path_factory.mktemp("caches") / "tiny.arrow"
    market = synthesise(stocks=30, days=150, seed=1, horizons=(1, 5))
    build(market.table, name="tiny", out=path, horizons=(1, 5))
    return path


class Bench:
    """What a test of the worker works with."""

    def __init__(self, home: Path, database_url: str, redis_url: str) -> None:
        self.home = home
        self.database_url = database_url
        self.redis_url = redis_url
        self.database = Database(database_url, pool_size=2)
        self.wake = Wake(redis_url)
        self.stopping = threading.Event()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    def submit(self, *, epochs: int = 2, model: str = "atft_gat_fan", **more: Any) -> str:
        """Queue a job and return its id; no doorbell."""
        models: dict[str, Any] = {
            "linear": {"kind": "linear"},
            "atft_gat_fan": {
                "kind": "atft_gat_fan",
                "hidden_size": 8,
                "fan": {"top_k": 1},
                "encoder": {"heads": 2},
                "gat": {"layers": 0},
            },
        }
        split = {"train_end": "2018-06-15", "valid_end": "2018-07-13", "embargo_days": 0}
        spec = {
            "dataset": "tiny",
            "config": {
                "max_epochs": epochs,
                "data": {"lookback": 5, "horizons": [1, 5], "split": split},
                "model": models[model],
                "batch": {"days_per_step": 8},
            },
            "resources": {"cpu_threads": 1},
            **more,
        }
        checked, header = check_spec(spec, self.home / "caches")
        with self.database.session() as session:
            return submit(session, checked, given=spec, header=header).id

    def job(self, job_id: str) -> Job:
        with self.database.session() as session:
            job = session.get(Job, job_id)
            assert job is not None
            return job

    def events(self, job_id: str, event_type: str | None = None) -> list[JobEvent]:
        with self.database.session() as session:
            query = session.query(JobEvent).filter_by(job_id=job_id).order_by(JobEvent.seq)
            return [event for event in query if event_type in (None, event.type)]

    def epochs(self, job_id: str) -> list[int | None]:
        return [event.epoch for event in self.events(job_id, "epoch")]

    def attempts(self, job_id: str) -> list[Attempt]:
        with self.database.session() as session:
            return list(session.query(Attempt).filter_by(job_id=job_id).order_by(Attempt.number))

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        with self.database.session() as session:
            return list(
                session.query(Checkpoint).filter_by(job_id=job_id).order_by(Checkpoint.epoch)
            )

    def make_ready(self) -> None:
        """End every back-off."""
        with self.database.session() as session:
            session.execute(text("UPDATE jobs SET not_before = NULL"))

    def age(self, session: Session, job_id: str, *, days: int) -> None:
        """Let an ended job have ended some days ago."""
        session.execute(
            text("UPDATE jobs SET finished_at = now() - make_interval(days => :n) WHERE id = :id"),
            {"n": days, "id": job_id},
        )

    def log(self, job_id: str) -> str:
        return (self.artifacts / job_id / "log.txt").read_text()

    def wait(self, condition: Callable[[], object], timeout_s: float = 90.0) -> None:
        """Until the condition holds. What the workers said is shown when it never does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self._told()
            time.sleep(0.1)

    def wait_state(self, job_id: str, *states: JobState, timeout_s: float = 120.0) -> Job:
        self.wait(lambda: self.job(job_id).state in states, timeout_s)
        return self.job(job_id)

    # In this process, with a scripted trainer.

    def place(self, script: list[list[Any]], *, lease_s: float = 30.0, **more: Any) -> Workplace:
        return Workplace(
            database=more.pop("database", self.database),
            wake=self.wake,
            caches=self.home / "caches",
            data=self.home / "data",
            artifacts=Artifacts(self.artifacts),
            lease_s=lease_s,
            stopping=self.stopping,
            trainer=(sys.executable, str(SCRIPTED), json.dumps(script)),
            **more,
        )

    def supervisor(self, place: Workplace, slots: Sequence[Slot] = (SLOT,)) -> Supervisor:
        """Claims the next job."""
        claimed_at = time.monotonic()
        offer = Slots(slots).offer()
        gpus = [slot.gpu for slot in slots if slot.gpu is not None]
        with place.database.session() as session:
            worker = register(session, host="test", pid=os.getpid(), slots=len(slots), gpus=gpus)
            claimed = claim(session, worker_id=worker.id, lease_s=place.lease_s, offer=offer)
        assert claimed is not None
        return Supervisor(claimed, slots, place, claimed_at)

    def run(self, script: list[list[Any]], **more: Any) -> None:
        """Claim the next job and run it to the end of the script."""
        self.supervisor(self.place(script, **more)).run()

    # Real worker processes with the real trainer.

    def start_worker(
        self, *options: str, slots: int = 1, lease_s: float = 10.0, spares: bool = False
    ) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "GOGOOKU3_HOME": str(self.home),
            "GOGOOKU3_DATABASE_URL": self.database_url,
            "GOGOOKU3_REDIS_URL": self.redis_url,
            "GOGOOKU3_LEASE_S": str(lease_s),
        }
        options = options if spares else (*options, "--no-spares")
        number = len(self._processes)
        with (self.home / f"worker-{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.main", "--slots", str(slots), *options],
                env=environment,
                cwd=REPOSITORY,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        return process

    def trainers(self) -> list[int]:
        """Process ids of the trainers that work in this home."""
        return [pid for pid, _ in self._trainers()]

    def trainers_by_job(self) -> list[str]:
        return [job_id for _, job_id in self._trainers()]

    def _trainers(self) -> Iterator[tuple[int, str]]:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                folder = Path(os.readlink(entry / "cwd"))
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if self.artifacts in folder.parents and b"gogooku3.training.run" in arguments:
                yield int(entry.name), folder.parent.name

    def _told(self) -> str:
        logs = [path.read_text() for path in sorted(self.home.glob("worker-*.log"))]
        jobs = [path.read_text() for path in self.artifacts.glob("*/log.txt")]
        return "\n".join(["never happened", *logs, *jobs])

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        for pid in self.trainers():
            os.kill(pid, signal.SIGKILL)
        self.wake.close()
        self.database.dispose()


@pytest.fixture
def bench(
    tmp_path: Path,
    dataset: Path,
    fresh_database: Callable[[], AbstractContextManager[str]],
    fresh_broker: Callable[[], str],
) -> Iterator[Bench]:
    """A home, a database and a broker that no other test touches."""
    (tmp_path / "caches").mkdir()
    shutil.copy(dataset, tmp_path / "caches" / "tiny.arrow")
    with fresh_database() as database_url:
        bench = Bench(tmp_path, database_url, fresh_broker())
        try:
            yield bench
        finally:
            bench.close()


class Watch(threading.Thread):
    """Counts a job's trainers all the time; two at once is what must never be."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(daemon=True)
        self._bench = bench
        self._ended = threading.Event()
        self.most = 0
        self.looks = 0

    def run(self) -> None:
        # A look reads every process's arguments; more of them would cost a tenth of a processor.
        while not self._ended.wait(0.1):
            jobs = self._bench.trainers_by_job()
            self.most = max([self.most, *(jobs.count(job) for job in set(jobs))])
            self.looks += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture
def trainer_watch(bench: Bench) -> Iterator[Watch]:
    """Fails the test when two trainers of a job were ever alive together."""
    watch = Watch(bench)
    watch.start()
    yield watch
    watch.end()
    assert watch.looks > 20
    assert watch.most == 1
