"""The service beside MLflow 3 on the same PostgreSQL, and beside a bare FastAPI app as the limit.

    python -m venv mlflow && mlflow/bin/pip install "mlflow==3.17.2" psycopg2-binary
    python -m benchmarks.service --mlflow mlflow/bin/mlflow --rows create list

One server process each, one client, 16 connections, all on this machine; what is compared runs in
turns. Without --mlflow its column is left out. All rows take about five minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from app.broker.wake import Wake
from app.db import Attempt, Database
from app.embedded.process import free_port
from app.jobs.points import NewPoint, store_points
from app.jobs.record import record
from benchmarks.http_load import Load, Request, load, one
from benchmarks.service_peers import Peers, peak_mb, wait_port
from gogooku3.events import EpochEvent

CONNECTIONS = 16
SECONDS = 4.0


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlflow", type=Path, help="the `mlflow` command of its own environment")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=list(ROWS), help="of the table; all without it"
    )
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gk3b-", dir="/tmp"))
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        peers = Peers(folder, given.mlflow, stack)
        Benchmark(peers, given.seconds).run(given.rows)


class Benchmark:
    """What is asked of the servers."""

    def __init__(self, peers: Peers, seconds: float) -> None:
        self.seconds = seconds
        self.home = peers.home
        self.database = peers.database
        self.redis = peers.redis
        self.spec = peers.spec
        self.key = peers.key
        self.ours, self.process = peers.ours, peers.process
        self.bare = peers.bare
        self.mlflow = peers.mlflow
        self.mlflow_url = peers.mlflow_url

    def run(self, rows: Sequence[str]) -> None:
        """What is asked for, in turns."""
        print(f"| {'what':34} | gogooku3 | MLflow | ratio | bare FastAPI |")
        print(f"|{'-' * 36}|---|---|---|---|")
        for name in rows:
            ROWS[name](self)

    def create(self) -> None:
        """Jobs, each checked and stored."""
        self.three("create, 16 connections", self.creating(), self.mlflow_creating(), "/jobs")

    def look(self) -> None:
        """One job, again and again."""
        path = f"/v1/jobs/{self.create_job()}"
        self.three("get one, 16 connections", self.get(path), self.mlflow_get(), "/jobs/1")

    def poll(self) -> None:
        """One job that has not changed."""
        path = f"/v1/jobs/{self.create_job()}"
        etag = self.ask("GET", path).headers["etag"]
        not_modified = self.get(path, {"If-None-Match": etag})
        self.three("get one, 304", not_modified, self.mlflow_get(), "/jobs/1")

    def streams(self) -> None:
        """Events to many who listen."""
        asyncio.run(self._streams([self.running_job() for _ in range(10)]))

    # ---- what is asked

    def running_job(self) -> tuple[str, int]:
        """A job that a worker has claimed."""
        spec = self.spec | {"priority": 1000}
        made = json.loads(self.ask("POST", "/v1/jobs", spec).body)["id"]
        with self.database.session() as session:
            session.execute(
                text(
                    "UPDATE jobs SET state = 'running', attempt = 1, attempts_used = 1, "
                    "lease_until = now() + interval '1 day', lease_owner = 'b' WHERE id = :id"
                ),
                {"id": made},
            )
            session.add(
                Attempt(job_id=made, number=1, worker_id="w", lease_owner="b", slot=0, slots=[0])
            )
        return made, 1

    def headers(self) -> dict[str, str]:
        """Of every request to us."""
        return {"Authorization": f"Bearer {self.key}"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request to us."""
        return one(self.ours, Request(method, path, body, self.headers()))

    def get(self, path: str, more: dict[str, str] | None = None) -> tuple[int, Request]:
        """A request to us, again and again."""
        return self.ours, Request("GET", path, None, self.headers() | (more or {}))

    def creating(self) -> tuple[int, Request]:
        """A job's specification."""
        return self.ours, Request("POST", "/v1/jobs", self.spec, self.headers())

    def create_job(self) -> str:
        """A queued job."""
        return str(json.loads(self.ask("POST", "/v1/jobs", self.spec).body)["id"])

    def mlflow_creating(self) -> tuple[int, Request] | None:
        """A run with its tags."""
        if self.mlflow is None:
            return None
        body = {"experiment_id": "0", "start_time": 1, "tags": [{"key": "team", "value": "red"}]}
        return self.mlflow, Request("POST", "/api/2.0/mlflow/runs/create", body)

    def mlflow_run(self) -> str:
        """A run's id."""
        assert self.mlflow is not None
        made = self.mlflow_creating()
        assert made is not None
        return str(json.loads(one(*made).body)["run"]["info"]["run_id"])

    def mlflow_get(self) -> tuple[int, Request] | None:
        """One run."""
        if self.mlflow is None:
            return None
        return self.mlflow, Request("GET", f"/api/2.0/mlflow/runs/get?run_id={self.mlflow_run()}")

    def three(
        self,
        what: str,
        ours: tuple[int, Request | Callable[[], Request]],
        theirs: tuple[int, Request] | None,
        bare: str,
    ) -> None:
        """The same of the three, in turns: two rounds each, the better counts."""
        bare_body = self.spec if bare == "/jobs" else None
        limit = (self.bare, Request("POST" if bare_body else "GET", bare, bare_body))
        best: list[Load | None] = [None, None, None]
        for _ in range(2):
            for place, target in enumerate((ours, theirs, limit)):
                if target is not None:
                    found = load(*target, connections=CONNECTIONS, seconds=self.seconds / 2)
                    kept = best[place]
                    if kept is None or found.per_s > kept.per_s:
                        best[place] = found
        row(what, *[None if found is None else found.per_s for found in best], unit="/s")
        assert best[0] is not None
        print(f"|   {best[0].percentiles()} | | | | |")

    def points(self) -> None:
        """Points from trainers: batches of 500 by four supervisors, beside log-batch of 100."""
        jobs = [self.running_job() for _ in range(4)]
        done = [0] * len(jobs)
        until = time.monotonic() + self.seconds

        def supervise(number: int) -> None:
            job, attempt = jobs[number]
            epoch = 1
            while time.monotonic() < until:
                events = [
                    EpochEvent(
                        epoch=epoch + k,
                        metrics={f"valid/m{n}": n / 7 + k for n in range(100)},
                        duration_s=1.0,
                    )
                    for k in range(20)
                ]
                with self.database.session() as session:
                    record(session, job, attempt, events)
                epoch += 20
                done[number] += 2000

        began = time.monotonic()
        threads = [threading.Thread(target=supervise, args=(n,)) for n in range(len(jobs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ours = sum(done) / (time.monotonic() - began)
        theirs = None
        if self.mlflow is not None:
            metrics = [
                {"key": f"m{n}", "value": n / 7, "timestamp": 1, "step": 0} for n in range(100)
            ]
            # A run for each connection: batches for one run would wait for one another.
            runs = [self.mlflow_run() for _ in range(CONNECTIONS)]
            steps = iter(range(10**9))

            def batch() -> Request:
                step = next(steps)
                run = runs[step % CONNECTIONS]
                body = {"run_id": run, "metrics": [m | {"step": step} for m in metrics]}
                return Request("POST", "/api/2.0/mlflow/runs/log-batch", body)

            found = load(self.mlflow, batch, connections=CONNECTIONS, seconds=self.seconds)
            theirs = found.per_s * 100
        row("metric points recorded", ours, theirs, None, unit=" points/s")

    def history(self) -> None:
        """A series of 10,000 points in full."""
        job, attempt = self.running_job()
        with self.database.session() as session:
            points = [NewPoint("train/loss", n, n / 3) for n in range(1, 10_001)]
            store_points(session, job, attempt, points)
        path = f"/v1/jobs/{job}/metrics?names=train/loss&max_points=10000"
        ours = median(lambda: self.ask("GET", path))
        theirs = None
        if self.mlflow is not None:
            run, port = self.mlflow_run(), self.mlflow
            for start in range(0, 10_000, 1000):
                metrics = [
                    {"key": "loss", "value": n / 3, "timestamp": n, "step": n}
                    for n in range(start, start + 1000)
                ]
                body = {"run_id": run, "metrics": metrics}
                one(port, Request("POST", "/api/2.0/mlflow/runs/log-batch", body))
            where = f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=loss"
            theirs = median(lambda: one(port, Request("GET", where)), times=3)
        row("10,000 points in full", ours, theirs, None, unit=" ms", smaller=True)

    def million(self) -> None:
        """A series of a million points, in 500."""
        job, attempt = self.running_job()
        for start in range(1, 1_000_001, 50_000):
            steps = range(start, start + 50_000)
            points = [NewPoint("train/loss", n, (n * 7919) % 10_007) for n in steps]
            with self.database.session() as session:
                store_points(session, job, attempt, points)
        path = f"/v1/jobs/{job}/metrics?names=train/loss"
        row(
            "500 of 1,000,000 points", median(lambda: self.ask("GET", path)), None, None, unit=" ms"
        )

    def lists(self) -> None:
        """50 of 100,000 jobs of one label, beside 50 of 10,000 runs."""
        with self.database.session() as session:
            session.execute(text("SET LOCAL statement_timeout = '300s'"))
            session.execute(FILL, {"copied": self.create_job()})
        connection = self.database.engine.connect()
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
        connection.close()
        ours = self.get("/v1/jobs?label=team:t3&page_size=50")
        theirs = None
        if self.mlflow is not None:
            with Database(self.mlflow_url).session() as session:
                session.execute(FILL_MLFLOW)
            body = {"experiment_ids": ["0"], "max_results": 50}
            theirs = (self.mlflow, Request("POST", "/api/2.0/mlflow/runs/search", body))
        self.three("list 50 of 100,000 with a filter", ours, theirs, "/list")
        numbers = itertools.count()

        def other() -> Request:
            path = f"/v1/jobs?label=team:t{next(numbers) % 20}&page_size=50"
            return Request("GET", path, None, self.headers())

        self.three("the same, 20 filters in turn", (self.ours, other), theirs, "/list")

    async def _streams(self, jobs: list[tuple[str, int]]) -> None:
        """500 listeners on ten jobs; from commit to the last byte."""
        wake = Wake(self.redis)
        committed: dict[tuple[str, int], float] = {}
        delays: list[float] = []
        before = peak_mb(self.process.pid)

        async def listen(job: str) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ours)
            request = Request("GET", f"/v1/jobs/{job}/stream", None, self.headers())
            writer.write(request.encoded(self.ours))
            while line := await reader.readline():
                if line.startswith(b"data: ") and b'"epoch"' in line:
                    now = time.perf_counter()
                    epoch = json.loads(line[6:])["payload"].get("epoch")
                    if (job, epoch) in committed:
                        delays.append(now - committed[job, epoch])

        listeners = [asyncio.create_task(listen(jobs[n % 10][0])) for n in range(500)]
        await asyncio.sleep(3)
        for epoch in range(1, 6):
            for job, attempt in jobs:
                told = EpochEvent(epoch=epoch, metrics={"valid/ic": 0.1}, duration_s=1.0)

                def commit(job: str = job, attempt: int = attempt, told: Any = told) -> int:
                    with self.database.session() as session:
                        return record(session, job, attempt, [told])

                seq = await asyncio.to_thread(commit)
                committed[job, epoch] = time.perf_counter()
                await asyncio.to_thread(wake.publish, job, seq)
                await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        for task in listeners:
            task.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        wake.close()
        delays.sort()
        expected = 500 * 5
        row(
            "SSE, 500 listeners, p99",
            delays[int(len(delays) * 0.99)] * 1000,
            None,
            None,
            unit=" ms",
        )
        grown = peak_mb(self.process.pid) - before
        print(f"|   {len(delays)} of {expected} events, +{grown:.0f} MB at the peak | | | | |")

    def download(self) -> None:
        """A checkpoint of 1 GB, beside `python -m http.server` (sendfile's reach in Python)."""
        job, _ = self.running_job()
        folder = self.home / "artifacts" / job / "attempt-1"
        folder.mkdir(parents=True)
        path = folder / "epoch-0001.gk3"
        block = os.urandom(2**20)
        with path.open("wb") as file:
            for _ in range(1000):
                file.write(block)
        with self.database.session() as session:
            session.execute(
                text(
                    "INSERT INTO checkpoints (id, job_id, attempt, epoch, path, size, sha256, "
                    "metrics, is_best) VALUES ('ckp_00000000000000000000000001', :job, 1, 1, "
                    ":path, :size, 'x', '{}', true)"
                ),
                {"job": job, "path": f"{job}/attempt-1/{path.name}", "size": path.stat().st_size},
            )
        peer_port = free_port()
        peer = subprocess.Popen(
            [sys.executable, "-m", "http.server", str(peer_port), "--bind", "127.0.0.1"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_port(peer_port)
            where = "/v1/checkpoints/ckp_00000000000000000000000001/content"
            before = peak_mb(self.process.pid)
            ours, theirs = 0.0, 0.0
            for _ in range(3):
                ours = max(ours, fetch(self.ours, where, self.headers()))
                theirs = max(theirs, fetch(peer_port, f"/{path.name}", {}))
            grown = peak_mb(self.process.pid) - before
        finally:
            peer.terminate()
            peer.wait()
            path.unlink()
        told = f"{ours / theirs:.2f} of http.server's {theirs:.0f} MB/s"
        print(f"| 1 GB download | {ours:.0f} MB/s | – | {told}, +{grown:.0f} MB at the peak | – |")


FILL = text(
    """
    INSERT INTO jobs (id, kind, name, state, dataset, dataset_fingerprint, labels, priority, spec,
                      config, config_sources, resources, limits, attempt, attempts_used, last_seq,
                      force_requested, created_at)
    SELECT 'job_' || lpad(n::text, 26, '0'), kind, 'run ' || n,
           (array['succeeded', 'failed', 'cancelled'])[1 + n % 3], dataset, dataset_fingerprint,
           jsonb_build_object('team', 't' || (n % 20)), 0, spec, config, config_sources, resources,
           limits, 1, 1, 1, false, now() - make_interval(secs => n)
    FROM jobs, generate_series(1, 100000) AS n WHERE jobs.id = :copied
    """
)
FILL_MLFLOW = text(
    """
    INSERT INTO runs (run_uuid, name, source_type, status, start_time, lifecycle_stage,
                      experiment_id, artifact_uri)
    SELECT md5(n::text), 'run ' || n, 'UNKNOWN', 'FINISHED', n, 'active', 0, 'x'
    FROM generate_series(1, 10000) AS n
    """
)


def row(
    what: str,
    ours: float | None,
    theirs: float | None,
    bare: float | None,
    *,
    unit: str,
    smaller: bool = False,
) -> None:
    """Print one line of the table."""

    def shown(value: float | None) -> str:
        return "–" if value is None else f"{value:,.0f}{unit}"

    ratio = "–"
    if ours and theirs:
        ratio = f"{theirs / ours:.1f}x" if smaller else f"{ours / theirs:.1f}x"
    print(f"| {what:34} | {shown(ours)} | {shown(theirs)} | {ratio} | {shown(bare)} |", flush=True)


def median(act: Callable[[], Any], times: int = 7) -> float:
    """Milliseconds, the median of some."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        assert act().status == 200
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)[times // 2]


def fetch(port: int, path: str, headers: dict[str, str]) -> float:
    """Download and throw away; MB/s."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(Request("GET", path, None, headers).encoded(port, close=True))
        buffer = bytearray(2**20)
        total, began = 0, time.perf_counter()
        while count := connection.recv_into(buffer):
            total += count
    assert total > 1000 * 2**20, total
    return total / 1e6 / (time.perf_counter() - began)


ROWS: dict[str, Callable[[Benchmark], None]] = {
    "create": Benchmark.create,
    "get": Benchmark.look,
    "304": Benchmark.poll,
    "points": Benchmark.points,
    "history": Benchmark.history,
    "million": Benchmark.million,
    "list": Benchmark.lists,
    "streams": Benchmark.streams,
    "download": Benchmark.download,
}


if __name__ == "__main__":
    main()
