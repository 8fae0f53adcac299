"""From POST to the trainer's first line, with and without a trainer that waits with torch loaded.

    python -m benchmarks.latency [--jobs 10]

One API process and one idle worker of one slot; the jobs are posted one after the other, each when
the worker is idle again (and its spare trainer has loaded torch). Per job: when the POST was
answered, when the trainer wrote its first line, and when it told that it had opened the dataset and
built the model. Beside them `import torch` by hand: what a cold start takes without any server.
Last, a worker with default settings is killed (-9): how long until its job is queued again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cluster import Cluster, small_dataset, small_job
from gogooku3.client import Client

FIRST_LINE = " begins"
LOOK_S = 0.002


@dataclass(frozen=True)
class Times:
    """Seconds since the POST was sent."""

    answered_s: float
    first_line_s: float
    start_s: float


def measure(home: Path, spec: dict[str, Any], jobs: int, *, spares: bool) -> list[Times]:
    """The times of so many jobs."""
    options = () if spares else ("--no-spares",)
    with Cluster(home, worker_options=options) as cluster, Client(cluster.urls[0]) as client:
        wait = partial(cluster.wait, what="the trainer says nothing", look_s=LOOK_S)
        found = []
        # The first job is not counted: it tells the worker the thread caps to prepare for.
        for _ in range(jobs + 1):
            if spares:
                cluster.wait(lambda: _is_warm(home), "no spare trainer")
            sent = time.monotonic()
            job = client.jobs.create(spec)
            answered = time.monotonic() - sent
            log = home / "artifacts" / job.id / "log.txt"
            wait(lambda path=log: _says(path, FIRST_LINE))
            first_line = time.monotonic() - sent
            wait(lambda path=log: _says(path, "training on"))
            found.append(Times(answered, first_line, time.monotonic() - sent))
            client.jobs.wait(job.id, timeout_s=300)
        return found[1:]


def by_hand(home: Path, count: int) -> list[float]:
    """Seconds from starting `python -c "import torch"` to its first line."""
    found = []
    for _ in range(count):
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", "import torch; print('x', flush=True)"],
            stdout=subprocess.PIPE,
            cwd=home,
        )
        assert child.stdout is not None
        child.stdout.readline()
        found.append(time.monotonic() - began)
        child.wait()
    return found


def dead_worker(home: Path, spec: dict[str, Any]) -> float:
    """Seconds from the death of a worker with a default lease until its job is queued again."""
    with Cluster(home, workers=1) as cluster, Client(cluster.urls[0]) as client:
        job = client.jobs.create(spec)
        cluster.wait(lambda: client.jobs.get(job.id).progress, "the job does not run")
        cluster.add_worker("control", "--slots", "0")
        killed = time.monotonic()
        cluster.named("worker")[0].process.kill()  # type: ignore[union-attr]
        cluster.wait(lambda: client.jobs.get(job.id).state == "queued", "the job is not taken back")
        return time.monotonic() - killed


def _says(log: Path, words: str) -> bool:
    """Whether a line of the trainer's own has the words; the worker's lines begin with ===."""
    if not log.exists():
        return False
    return any(words in line for line in log.read_text().splitlines() if line[:3] != "===")


def _is_warm(home: Path) -> bool:
    """Whether a spare trainer has loaded everything and sleeps."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd") != str(home / "logs" / "spares"):
                continue
            state = (entry / "stat").read_text().rpartition(")")[2].split()
            # Blocked in reading its standard input, after torch was loaded.
            if state[0] == "S" and "pipe_read" in (entry / "wchan").read_text():
                return "libtorch" in (entry / "maps").read_text()
        except OSError:
            continue
    return False


def _row(name: str, values: Sequence[float]) -> str:
    ordered = sorted(values)
    p90 = ordered[min(len(ordered) - 1, round(0.9 * len(ordered)))]
    return f"| {name} | {statistics.median(ordered) * 1e3:.0f} | {p90 * 1e3:.0f} |"


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gk3-latency-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        spec = small_job(small_dataset(home, stocks=20, days=170))
        warm = measure(home, spec, given.jobs, spares=True)
        cold = measure(home, spec, given.jobs, spares=False)
        bare = by_hand(home, given.jobs)
        noticed_s = dead_worker(home, spec | {"config": spec["config"] | {"max_epochs": 1000}})
    print("| from POST | p50, ms | p90, ms |\n|---|---|---|")
    print(_row("answered", [times.answered_s for times in warm + cold]))
    print(_row("first line, spare trainer", [times.first_line_s for times in warm]))
    print(_row("first line, cold", [times.first_line_s for times in cold]))
    print(_row("training starts, spare trainer", [times.start_s for times in warm]))
    print(_row("training starts, cold", [times.start_s for times in cold]))
    print(_row('`python -c "import torch"` by hand', bare))
    print(f"\nA dead worker's job is queued again after {noticed_s:.1f} s (lease 60 s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
