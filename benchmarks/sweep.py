"""Sweeps on real servers: what orchestration costs beside the trials themselves.

    python benchmarks/sweep.py [--trials 200] [--finished 2000] [--asks 100]

1. A sweep of trials of one second each, two slots, run by one real worker process with a trainer
   that only waits. The ideal is trials x 1 s / 2. The gap is from a run's recorded end to the
   first event of the run that its slot takes up next.
2. Suggesting and telling with many finished trials in the study.
3. Four processes that ask and tell at once, as workers do: asking under the sweep's lock.

PostgreSQL and Valkey are the embedded ones, in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRIAL_S = 1.0
EPOCHS = 4
BASE: dict[str, Any] = {
    "max_epochs": EPOCHS,
    "data": {
        "lookback": 5,
        "horizons": [1, 5],
        "split": {"train_end": "2018-06-15", "valid_end": "2018-07-31", "embargo_days": 0},
    },
    "model": {"hidden_size": 8, "fan": {"top_k": 1}, "encoder": {"heads": 2}},
}
SPACE: dict[str, Any] = {
    "optimizer.kind": {"choice": ["adamw", "adabelief"]},
    "optimizer.lr": {"float": [1e-5, 1e-1], "log": True},
    "model.hidden_size": {"choice": [8, 16, 32]},
    "model.dropout": {"float": [0.0, 0.5]},
    "model.gat.dropout": {"float": [0.1, 0.4]},
    "model.gat.layers": {"int": [1, 4]},
    "loss.terms.soft_spearman.weight": {"choice": [0.0, 0.05, 0.1, 0.2]},
}


def main() -> int:
    """Run all three and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--finished", type=int, default=2000)
    parser.add_argument("--asks", type=int, default=100, help="of each of four processes")
    given = parser.parse_args()
    with servers() as (home, database_url, redis_url):
        if given.trials:
            run_sweep(home, database_url, redis_url, given.trials)
        if given.finished:
            ask_with_history(database_url, given.finished)
        if given.asks:
            ask_at_once(database_url, given.asks)
    return 0


@contextmanager
def servers() -> Iterator[tuple[Path, str, str]]:
    """PostgreSQL and Valkey with a migrated database, and a home with a small dataset."""
    from app.db.migrate import upgrade
    from app.embedded.postgres import EmbeddedPostgres
    from app.embedded.valkey import EmbeddedValkey
    from gogooku3.data.build import build
    from gogooku3.data.synth import synthesise

    with tempfile.TemporaryDirectory(prefix="gk3-") as name:
        home = Path(name)
        home.chmod(0o755)
        (home / "caches").mkdir()
        market = synthesise(stocks=30, days=150, seed=1, horizons=(1, 5))
        build(market.table, name="tiny", out=home / "caches" / "tiny.arrow", horizons=(1, 5))
        postgres, valkey = EmbeddedPostgres(home / "pg"), EmbeddedValkey(home / "valkey")
        try:
            postgres.start()
            valkey.start()
            upgrade(postgres.url())
            yield home, postgres.url(), valkey.url()
        finally:
            valkey.stop()
            postgres.stop()


def sweep_of(n_trials: int, **more: Any) -> dict[str, Any]:
    """The sweep's specification."""
    return {
        "dataset": "tiny",
        "config": BASE,
        "search_space": SPACE,
        "n_trials": n_trials,
        "max_parallel": 2,
        "sampler": {"kind": "tpe", "seed": 1},
        **more,
    }


def run_sweep(home: Path, database_url: str, redis_url: str, trials: int) -> None:
    """1: a whole sweep, with a worker process."""
    from sqlalchemy import select

    from app.db import Attempt, Database, Job, JobEvent, Sweep
    from app.sweeps.create import check_spec, create

    database = Database(database_url)
    given = sweep_of(trials, retention={"save_trial_best": 1, "save_trial_latest": 1})
    checked, header = check_spec(given, home / "caches")
    worker = multiprocessing.get_context("spawn").Process(
        target=work, args=(home, database_url, redis_url, header.fingerprint)
    )
    worker.start()
    # The worker's own start is not the sweep's.
    wait(lambda: count_workers(database) == 1)
    began = time.monotonic()
    with database.session() as session:
        sweep_id = create(session, checked, given=given, header=header).id
    wait(lambda: _state(database, sweep_id).is_finished, 60 + 10 * trials * TRIAL_S)
    took = time.monotonic() - began
    os.kill(worker.pid or 0, signal.SIGTERM)
    worker.join(60)
    with database.session() as session:
        assert session.get_one(Sweep, sweep_id).state == "succeeded"
        rows = session.execute(
            select(Attempt.slots, Attempt.started_at, Attempt.ended_at, JobEvent.at)
            .join(Job, Job.id == Attempt.job_id)
            .join(
                JobEvent,
                (JobEvent.job_id == Job.id) & (JobEvent.type == "epoch") & (JobEvent.epoch == 1),
            )
            .where(Job.sweep_id == sweep_id)
            .order_by(Attempt.started_at)
        ).all()
    database.dispose()
    ends: dict[str, Any] = {}
    gaps, claims = [], []
    for slots, started, ended, first in rows:
        slot = str(slots)
        if slot in ends:
            claims.append((started - ends[slot]).total_seconds())
            # The first epoch ends a quarter of the trial after the trainer's first line.
            gaps.append((first - ends[slot]).total_seconds() - TRIAL_S / EPOCHS)
        ends[slot] = ended
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime
    ideal = trials * TRIAL_S / 2
    print(f"{trials} trials of {TRIAL_S:g} s, 2 slots: {took:.1f} s, ideal {ideal:.1f} s")
    print(f"over the ideal: {took / ideal - 1:.1%} (target < 10 %; Ray Tune publishes 14 %)")
    print(f"CPU of worker, its trainers and the servers so far: {cpu_s / trials:.2f} s a trial")
    print(f"load average: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"end of a run -> next run claimed: {_quantiles(claims)} (no target)")
    print(f"end of a run -> next run's first line: {_quantiles(gaps)} (target p50 < 500 ms)")


def work(home: Path, database_url: str, redis_url: str, fingerprint: str) -> None:
    """A worker of two slots, whose trainer waits."""
    from app.artifacts import Artifacts
    from app.broker.wake import Wake
    from app.db import Database
    from worker.devices import make_slots
    from worker.host import Host
    from worker.maintenance import Maintenance
    from worker.place import Workplace
    from worker.slots import Slots

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    place = Workplace(
        database=Database(database_url),
        wake=Wake(redis_url),
        caches=home / "caches",
        data=home / "data",
        artifacts=Artifacts(home / "artifacts"),
        lease_s=30.0,
        stopping=stopping,
        trainer=(sys.executable, "-S", "-E", __file__, "--trainer", fingerprint),
    )
    host = Host(place, Slots(make_slots(2, [])))
    maintenance = Maintenance(host)
    maintenance.start()
    stopping.wait()
    maintenance.end()
    host.leave()


def train() -> None:
    """A trainer that waits a second and makes up a metric."""
    fingerprint, fd = sys.argv[2], int(sys.argv[3].partition("=")[2])
    request = json.loads(sys.stdin.buffer.read())
    config = request["config"]

    def tell(**event: object) -> None:
        os.write(fd, json.dumps(event).encode() + b"\n")

    tell(type="start", provenance={"dataset": {"fingerprint": fingerprint}})
    for epoch in range(1, EPOCHS + 1):
        time.sleep(TRIAL_S / EPOCHS)
        value = 0.1 - (config["model"]["dropout"] - 0.2) ** 2 - 0.1 / epoch
        metrics = {"valid/rank_ic": value}
        tell(type="epoch", epoch=epoch, metrics=metrics, duration_s=TRIAL_S / EPOCHS)
    path = Path(request["out_dir"]) / "epoch-0004.gk3"
    path.write_bytes(b"x")
    tell(
        type="checkpoint",
        epoch=EPOCHS,
        path=path.name,
        size=1,
        sha256="0" * 64,
        is_best=True,
        metrics=metrics,
    )
    tell(type="end", outcome="completed", best_epoch=EPOCHS, best_metrics=metrics)


def ask_with_history(database_url: str, finished: int) -> None:
    """2: a suggestion and a tell with many finished trials."""
    import optuna

    from gogooku3.config import check_sweep
    from gogooku3.search import Search, Verdict, close_storage, open_storage
    from gogooku3.search.values import optuna_distribution

    checked, _ = check_sweep(sweep_of(10_000), lambda _: [])
    assert checked is not None
    storage = open_storage(database_url)
    search = Search(storage, "history", checked.spec, checked.space)
    search.prepare()
    draw = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    distributions = {p.path: optuna_distribution(p.distribution) for p in checked.space.parameters}
    began = time.monotonic()
    made = [draw.ask(distributions) for _ in range(finished)]
    search.study.add_trials(
        [
            optuna.trial.create_trial(
                params=trial.params,
                distributions=distributions,
                value=trial.params["model.dropout"],
            )
            for trial in made
        ]
    )
    print(f"{finished} finished trials put into the study in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    search.suggest(finished)
    print(f"first suggestion of a process (reads them all): {_ms(time.monotonic() - began)}")
    search.tell(finished, Verdict.COMPLETE, [0.1])
    asks, tells, memory = [], [], []
    cpu = -time.process_time()
    for number in range(finished + 1, finished + 61):
        began = time.monotonic()
        search.suggest(number)
        asked = time.monotonic()
        search.tell(number, Verdict.COMPLETE, [0.1], curve={1: 0.05})
        asks.append(asked - began)
        tells.append(time.monotonic() - asked)
        memory.append(_rss_mb())
    cpu += time.process_time()
    close_storage(storage)
    print(f"load average: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"CPU of a suggestion and a tell: {_ms(cpu / 60)}")
    print(f"suggestion at {finished}: {_quantiles(asks)} (target < 150 ms)")
    print(f"tell at {finished}: {_quantiles(tells)} (target < 150 ms)")
    print(f"memory over 60 of them: {memory[4]:.0f} -> {memory[-1]:.0f} MB (target: flat)")


def ask_at_once(database_url: str, asks: int) -> None:
    """3: four processes at one study."""
    from gogooku3.config import check_sweep
    from gogooku3.search import Search, close_storage, open_storage

    checked, _ = check_sweep(sweep_of(10_000), lambda _: [])
    assert checked is not None
    storage = open_storage(database_url)
    search = Search(storage, "crowd", checked.spec, checked.space)
    search.prepare()
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        numbers = pool.starmap(ask_and_tell, [(database_url, asks)] * 4)
    took = time.monotonic() - began
    told = sorted(number for mine in numbers for number in mine)
    states = {trial.state.name for trial in search.study.get_trials(deepcopy=False)}
    close_storage(storage)
    assert told == list(range(4 * asks))
    assert states == {"COMPLETE"}
    print(
        f"4 processes x {asks} asks and tells: {took:.1f} s with their start, "
        f"{4 * asks} numbers, none twice, all COMPLETE, no error"
    )


def ask_and_tell(database_url: str, asks: int) -> list[int]:
    """One of the processes; answers the numbers that it got."""
    from app.db.database import make_engine
    from gogooku3.config import check_sweep
    from gogooku3.search import Search, Verdict, open_storage

    checked, _ = check_sweep(sweep_of(10_000), lambda _: [])
    assert checked is not None
    storage = open_storage(database_url)
    search = Search(storage, "crowd", checked.spec, checked.space)
    engine = make_engine(database_url)
    mine = []
    for _ in range(asks):
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '120s'")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7)")
            number = storage.get_n_trials(search.study._study_id)
            params = search.suggest(number).params
        search.report(number, 1, 0.1)
        search.tell(number, Verdict.COMPLETE, [params["model.dropout"]])
        mine.append(number)
    return mine


def count_workers(database: Any) -> int:
    """Workers that have registered."""
    from sqlalchemy import func, select

    from app.db import Worker

    with database.session() as session:
        return int(session.scalar(select(func.count()).select_from(Worker)) or 0)


def wait(condition: Any, timeout_s: float = 120.0) -> None:
    """Until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.05)


def _state(database: Any, sweep_id: str) -> Any:
    from app.db import Sweep

    with database.session() as session:
        return session.get_one(Sweep, sweep_id).state


def _quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    return f"p50 {_ms(statistics.median(ordered))}, p95 {_ms(p95)}, max {_ms(ordered[-1])}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if "--trainer" in sys.argv:
        train()
    else:
        sys.exit(main())
