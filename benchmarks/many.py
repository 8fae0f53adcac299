"""Three API processes and eight workers behave as one service.

    python -m benchmarks.many [--apis 3] [--workers 8] [--jobs 32]

All share one PostgreSQL and one Valkey, and know of each other through nothing else. Jobs are
posted to all API processes at once, each under one Idempotency-Key everywhere; a job is followed
live at another API process than it was posted to, one is paused at one and resumed at another; half
way one API process and one worker are killed (-9) and stay away. At the end every job has
succeeded, none was run twice at a time, every worker has had some, and all API processes answer the
same.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.chaos import Watch
from benchmarks.cluster import Cluster, small_dataset, small_job
from gogooku3.client import Client

LEASE_S = 10.0


def main() -> int:
    """Run, print a table; 1 when anything was not as one service would have it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--apis", type=int, default=3)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gk3-many-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        spec = small_job(
            small_dataset(home, stocks=20, days=170), limits={"max_attempts": 10}, epochs=2
        )
        # One spare trainer a worker would be eight times torch on this one machine.
        cluster = Cluster(
            home,
            apis=given.apis,
            workers=given.workers,
            lease_s=LEASE_S,
            worker_options=["--no-spares"],
        )
        with cluster:
            watch = Watch(cluster)
            watch.start()
            faults = run(cluster, spec, given.jobs)
            watch.end()
            if watch.doubles:
                faults.append(f"two trainers at once: {sorted(watch.doubles)}")
            print(f"trainers at once: {watch.most}")
    for fault in faults:
        print("FAULT", fault)
    print("one service" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


def run(cluster: Cluster, spec: dict[str, Any], count: int) -> list[str]:
    """The experiment; what was wrong."""
    faults: list[str] = []
    clients = [Client(url, retry_for_s=60.0) for url in cluster.urls]
    began = time.monotonic()

    def post(place: int) -> str:
        number, api = divmod(place, len(clients))
        named = spec | {"name": f"job {number}"}
        return clients[api].jobs.create(named, idempotency_key=f"many-{number}").id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(post, range(count * len(clients))))
    jobs = ids[:: len(clients)]
    if any(len(set(ids[n : n + len(clients)])) != 1 for n in range(0, len(ids), len(clients))):
        faults.append("a key made several jobs")
    print(f"{count} jobs posted to each of {len(clients)} APIs in {time.monotonic() - began:.1f} s")
    clients[0].jobs.pause(jobs[-1])
    seen = clients[-1].jobs.get(jobs[-1])
    if seen.state != "paused" and seen.pause_requested_at is None:
        faults.append("a pause at one API is not seen at another")
    with ThreadPoolExecutor(1) as pool:
        followed = pool.submit(lambda: list(clients[1].jobs.stream(jobs[0])))
        _wait(clients[0], jobs, count // 2)
        for name in (f"api-{cluster.ports[-1]}", "worker-0"):
            os.kill(cluster.named(name)[0].pid, signal.SIGKILL)
        clients[1].jobs.resume(jobs[-1])
        _wait(clients[0], jobs, count)
        events = followed.result(timeout=60)
    seconds = time.monotonic() - began
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        faults.append("the stream of another API has gaps")
    states = Counter(clients[0].jobs.get(job).state for job in jobs)
    if states != {"succeeded": count}:
        faults.append(f"states: {dict(states)}")
    lists = [[job.id for job in client.jobs.list()] for client in clients[:-1]]
    if any(first != second for first, second in itertools.pairwise(lists)):
        faults.append("two APIs list different jobs")
    ran = Counter(attempt.worker_id for job in jobs for attempt in clients[0].jobs.attempts(job))
    if len(ran) < len(cluster.named("worker")):
        faults.append(f"only {len(ran)} workers had a job")
    print(f"all succeeded after {seconds:.1f} s; attempts by worker: {sorted(ran.values())}")
    for client in clients:
        client.close()
    return faults


def _wait(client: Client, jobs: list[str], count: int, timeout_s: float = 900.0) -> None:
    deadline = time.monotonic() + timeout_s
    while sum(client.jobs.get(job).is_finished for job in jobs) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {count} jobs have ended after {timeout_s:g} s")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
