"""Kill everything at random while jobs are submitted, steered and run: nothing may be lost.

    python -m benchmarks.chaos [--jobs 200] [--minutes 10] [--every 4] [--seed 1]

Two API processes and three workers of one slot share one PostgreSQL and one Valkey. For the given
time, every few seconds one of them or a trainer is killed (-9), or a worker is suspended for longer
than its lease and woken; what was killed comes back a moment later. Meanwhile jobs are posted, some
of them paused and resumed, some cancelled. Then everything may end, and is checked:

- every job that was accepted is there and ended in a state that fits what was asked of it;
- events are numbered without gaps, each epoch is told once and in order;
- all training jobs are the same run: each epoch's validation metrics are the same bits in all;
- at no time two trainers of one job were alive;
- attempts follow one another, and the writes of those that had lost the job were rejected.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.db import Attempt, Checkpoint, Database, Job, JobEvent
from benchmarks.cluster import Cluster, Program, small_dataset, small_job
from gogooku3.client import ApiError, Client, UnreachableError

LEASE_S = 8.0
WEIGHTS = {"trainer": 40, "worker": 20, "api": 14, "valkey": 9, "postgres": 9, "suspend": 8}
EPOCHS = 3
SEEN_S = 0.1
"""How often the trainers are counted."""


@dataclass
class Asked:
    """A job that was accepted, and what was asked of it since."""

    kind: str
    cancelled: bool = False
    """Whether a cancel was accepted while it had not ended."""


@dataclass
class Report:
    """What happened, and what is wrong with it."""

    kills: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    stale_writes: int = 0
    looks: int = 0
    most_trainers: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def expect(self, holds: object, fault: str) -> None:
        """Note a fault unless the condition holds."""
        if not holds:
            self.faults.append(fault)


class Users(threading.Thread):
    """Submit jobs and steer some of them, through restarts of everything."""

    def __init__(
        self,
        urls: Sequence[str],
        specs: Sequence[dict[str, Any]],
        within_s: float,
        chance: random.Random,
    ) -> None:
        super().__init__(name="users")
        self._urls = urls
        self._specs = specs
        self._within_s = within_s
        self._chance = chance
        self.accepted: dict[str, Asked] = {}
        self.actions: Counter[str] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error

    def _work(self) -> None:
        began = time.monotonic()
        waiting: list[tuple[float, str, str]] = []
        for number, spec in enumerate(self._specs):
            due = began + self._within_s * number / len(self._specs)
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(left, 0.1))
                waiting = self._steer(waiting)
            job_id = self._do(lambda client, n=number, s=spec: self._create(client, n, s))
            self.accepted[job_id] = Asked("dataset" if "source" in spec else "train")
            dice, soon = self._chance.random(), time.monotonic() + self._chance.uniform(0.0, 20.0)
            if dice < 0.1:
                waiting.append((soon, "cancel", job_id))
            elif dice < 0.25:
                waiting += [(soon, "pause", job_id), (soon + 8.0, "resume", job_id)]
        while waiting:
            waiting = self._steer(waiting)
            time.sleep(0.1)

    def _create(self, client: Client, number: int, spec: dict[str, Any]) -> str:
        target = client.datasets if "source" in spec else client.jobs
        return target.create(spec, idempotency_key=f"chaos-{number}").id

    def _steer(self, waiting: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
        now = time.monotonic()
        for due, action, job_id in waiting:
            if due > now:
                continue
            try:
                self._do(lambda client, a=action, j=job_id: getattr(client.jobs, a)(j))
            except ApiError as error:
                if error.code != "invalid-state":  # it had ended before
                    raise
                continue
            self.actions[action] += 1
            self.accepted[job_id].cancelled |= action == "cancel"
        return [step for step in waiting if step[0] > now]

    def _do(self, act: Callable[[Client], Any]) -> Any:
        """The answer of any API process, however long it takes."""
        while True:
            with Client(self._chance.choice(self._urls), retry_for_s=3.0, timeout_s=15.0) as client:
                try:
                    return act(client)
                except UnreachableError:
                    continue
                except ApiError as error:
                    if error.status < 500:
                        raise


class Watch(threading.Thread):
    """Counts the live trainers of each job, all the time."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(name="watch", daemon=True)
        self._cluster = cluster
        self._ended = threading.Event()
        self.looks = 0
        self.most = 0
        self.doubles: set[str] = set()

    def run(self) -> None:
        while not self._ended.wait(SEEN_S):
            jobs = Counter(Path(path).parent.name for path in self._cluster.trainers().values())
            self.looks += 1
            self.most = max(self.most, sum(jobs.values()))
            self.doubles |= {job for job, count in jobs.items() if count > 1}

    def end(self) -> None:
        self._ended.set()
        self.join()


class Demon:
    """Kills, suspends and brings back. Servers are started from the main thread only: they end
    with the thread that started them."""

    def __init__(self, cluster: Cluster, chance: random.Random, report: Report) -> None:
        self._cluster = cluster
        self._chance = chance
        self._kills = report.kills
        self._faults = report.faults
        self._down: set[str] = set()
        self._back: list[tuple[float, Callable[[], object]]] = []

    def act(self) -> None:
        """One evil deed."""
        what = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        delay = self._chance.uniform(0.0, 3.0)
        if what == "trainer":
            pids = list(self._cluster.trainers())
            if pids:
                self._kill(self._chance.choice(pids))
        elif what in ("worker", "api"):
            victim = self._chance.choice(self._cluster.named(what))
            if not victim.is_alive():
                return
            self._down.add(victim.name)
            self._kill(victim.pid)
            victim.process.wait()  # type: ignore[union-attr]
            self._later(delay, lambda: self._start(victim))
        elif what == "suspend":
            self._suspend(self._chance.choice(self._cluster.named("worker")))
        else:
            server = getattr(self._cluster, what)
            if server.pid is None:
                return
            self._kill(server.pid)
            self._later(delay, server.start)
        self._kills[what] += 1

    def bring_back(self, *, everything: bool = False) -> None:
        """Start again what is due. Nobody may have ended but by our hand."""
        for program in self._cluster.programs:
            if not program.is_alive() and program.name not in self._down:
                self._faults.append(f"{program.name} ended by itself")
                program.start()
        now = time.monotonic()
        due = [act for at, act in self._back if everything or at <= now]
        self._back = [(at, act) for at, act in self._back if not everything and at > now]
        for act in due:
            act()

    def _start(self, victim: Program) -> None:
        victim.start()
        self._down.discard(victim.name)

    def _suspend(self, worker: Program) -> None:
        if not worker.is_alive():
            return
        pid = worker.pid
        os.kill(pid, signal.SIGSTOP)

        def wake() -> None:
            if worker.is_alive() and worker.pid == pid:
                os.kill(pid, signal.SIGCONT)

        self._later(LEASE_S + self._chance.uniform(1.0, 5.0), wake)

    def _kill(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _later(self, delay_s: float, act: Callable[[], object]) -> None:
        self._back.append((time.monotonic() + delay_s, act))


def specifications(count: int, split: dict[str, Any]) -> list[dict[str, Any]]:
    """Training jobs, all the same run, and every other job a build of a dataset."""
    training = small_job(split, epochs=EPOCHS, limits={"max_attempts": 100})
    building = {
        "source": {"kind": "synth", "stocks": 20, "days": 160},
        "horizons": [1],
        "limits": {"max_attempts": 100},
    }
    return [
        building | {"name": f"built-{n}"} if n % 2 else training | {"name": f"run {n}"}
        for n in range(count)
    ]


def run(
    home: Path,
    *,
    jobs: int,
    seconds: float,
    seed: int,
    patience_s: float,
    every_s: float = 4.0,
    apis: int = 2,
    workers: int = 3,
    worker_options: Sequence[str] = (),
) -> Report:
    """The whole experiment; something is killed every `every_s`, on the mean."""
    report = Report()
    began = time.monotonic()
    split = small_dataset(home, stocks=20, days=170)
    with Cluster(
        home, apis=apis, workers=workers, lease_s=LEASE_S, worker_options=worker_options
    ) as cluster:
        chance = random.Random(seed)
        users = Users(
            cluster.urls, specifications(jobs, split), seconds * 0.8, random.Random(seed + 1)
        )
        demon = Demon(cluster, chance, report)
        watch = Watch(cluster)
        watch.start()
        users.start()
        ends_at = time.monotonic() + seconds
        next_at = time.monotonic() + 2.0
        while time.monotonic() < ends_at:
            demon.bring_back()
            if time.monotonic() >= next_at:
                demon.act()
                next_at = time.monotonic() + chance.expovariate(1 / every_s)
            time.sleep(0.1)
        demon.bring_back(everything=True)
        users.join(patience_s)
        report.expect(not users.is_alive(), "the users were not done")
        report.expect(users.error is None, f"the users met {users.error!r}")
        database = Database(cluster.database_url)
        try:
            _wait_ended(database, time.monotonic() + patience_s)
            _check(database, users.accepted, home, report)
        finally:
            database.dispose()
            watch.end()
        report.actions = users.actions
        report.looks, report.most_trainers = watch.looks, watch.most
        report.expect(not watch.doubles, f"two trainers at once: {sorted(watch.doubles)}")
        report.expect(not cluster.trainers(), f"left behind: {cluster.trainers()}")
        report.stale_writes = sum(
            attempt["stale_writes"]
            for job_id in users.accepted
            for attempt in cluster.get(f"/v1/jobs/{job_id}/attempts")["items"]
        )
    report.seconds = time.monotonic() - began
    return report


def _wait_ended(database: Database, deadline: float) -> None:
    while time.monotonic() < deadline:
        with database.session() as session:
            left = [
                job_id
                for job_id, state in session.execute(select(Job.id, Job.state))
                if not state.is_finished
            ]
        if not left:
            return
        time.sleep(0.5)


def _check(database: Database, accepted: dict[str, Asked], home: Path, report: Report) -> None:
    with database.session() as session:
        found = {job.id: job for job in session.scalars(select(Job))}
        events = defaultdict(list)
        for event in session.scalars(select(JobEvent).order_by(JobEvent.job_id, JobEvent.seq)):
            events[event.job_id].append(event)
        attempts = defaultdict(list)
        for attempt in session.scalars(select(Attempt).order_by(Attempt.job_id, Attempt.number)):
            attempts[attempt.job_id].append(attempt)
        checkpoints = Counter(
            (job_id, epoch)
            for job_id, epoch in session.execute(select(Checkpoint.job_id, Checkpoint.epoch))
        )
    report.expect(set(found) == set(accepted), "jobs in the table are not those accepted")
    report.expect(set(checkpoints.values()) <= {1}, "a checkpoint was recorded twice")
    results: defaultdict[int, set[str]] = defaultdict(set)
    for job_id, asked in accepted.items():
        job = found.get(job_id)
        if job is None:
            report.faults.append(f"{job_id} was accepted and is lost")
            continue
        report.states[job.state.value] += 1
        allowed = {"succeeded", "cancelled"} if asked.cancelled else {"succeeded"}
        report.expect(job.state.value in allowed, f"{job_id} is {job.state.value}: {job.reason}")
        _check_events(job, events[job_id], results, report)
        _check_attempts(job, attempts[job_id], report)
        if asked.kind == "dataset" and job.state.value == "succeeded":
            path = home / "caches" / f"{job.dataset}.arrow"
            report.expect(path.is_file(), f"{job_id} succeeded without a dataset")
    for epoch, told in results.items():
        report.expect(len(told) == 1, f"epoch {epoch} ended in {len(told)} different ways")


def _check_events(
    job: Job, events: list[JobEvent], results: defaultdict[int, set[str]], report: Report
) -> None:
    seqs = [event.seq for event in events]
    report.expect(seqs == list(range(1, len(seqs) + 1)), f"{job.id} has gaps in its record")
    report.expect(job.last_seq == len(seqs), f"{job.id}: last_seq is not its newest event's")
    told = [event for event in events if event.type == "epoch"]
    epochs = [event.epoch for event in told]
    report.expect(epochs == list(range(1, len(epochs) + 1)), f"{job.id} told epochs {epochs}")
    if job.state.value == "succeeded" and job.kind == "train":
        report.expect(len(epochs) == EPOCHS, f"{job.id} succeeded after epochs {epochs}")
    for event in told:
        metrics = event.payload["metrics"]
        valid = {name: value for name, value in metrics.items() if name.startswith("valid/")}
        results[event.epoch or 0].add(repr(sorted(valid.items())))


def _check_attempts(job: Job, attempts: list[Attempt], report: Report) -> None:
    numbers = [attempt.number for attempt in attempts]
    report.expect(numbers == list(range(1, job.attempt + 1)), f"{job.id} has attempts {numbers}")
    for attempt in attempts:
        report.outcomes[attempt.outcome or "open"] += 1
        report.expect(attempt.ended_at is not None, f"{job.id}.{attempt.number} is open")
    for first, second in itertools.pairwise(attempts):
        ended = first.ended_at is not None and first.ended_at <= second.started_at
        report.expect(ended, f"{job.id}: attempts {first.number} and {second.number} overlap")


def main() -> int:
    """Run, print what happened; 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=4.0, help="mean seconds between two kills")
    parser.add_argument("--patience-minutes", type=float, default=30.0)
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="gk3-chaos-"))
    home.chmod(0o755)
    report = run(
        home,
        jobs=given.jobs,
        seconds=given.minutes * 60,
        seed=given.seed,
        patience_s=given.patience_minutes * 60,
        every_s=given.every,
    )
    for name in ("kills", "actions", "states", "outcomes"):
        print(f"{name:14}", ", ".join(f"{k} {v}" for k, v in getattr(report, name).items()))
    print(f"stale writes   {report.stale_writes} rejected and counted")
    print(f"trainers       {report.most_trainers} at most, counted {report.looks} times")
    print(f"took           {report.seconds:.0f} s")
    for fault in report.faults:
        print("FAULT", fault)
    print("nothing is wrong" if not report.faults else f"{len(report.faults)} faults; logs: {home}")
    if not report.faults and not given.keep:
        shutil.rmtree(home)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
