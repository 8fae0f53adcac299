"""From nothing to a trained checkpoint, by the commands that a user types.

    python examples/demo.py [--keep] [--stocks N] [--days N] [--epochs N]

Simulates a market with a planted signal, starts the whole server, trains ATFT-GAT-FAN and two
comparison models over HTTP, fetches the best checkpoint, loads it again and puts its rank IC
beside the planted one. Everything stays under .gogooku3/demo; --keep leaves the server running
until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from gogooku3.client import Client, Job

ROOT = Path(__file__).resolve().parents[1]
COMMAND = Path(sys.executable).with_name("gogooku3")
DATASET = "demo"


def main() -> int:
    """Run the demo; 0 when every step did what it should."""
    given = arguments()
    home = Path(os.environ.get("GOGOOKU3_HOME", ".gogooku3/demo")).resolve()
    os.environ["GOGOOKU3_HOME"] = str(home)
    began = time.monotonic()

    say("A market of our own, with a signal planted in it")
    size = ["--stocks", str(given.stocks), "--days", str(given.days)]
    gogooku3("data", "synth", DATASET, *size, "--force")
    cache = home / "caches" / f"{DATASET}.arrow"

    say("The whole server: PostgreSQL, Valkey, the API, a worker")
    with server() as url, Client(url) as client:
        for left in client.jobs.list(state=["queued", "running"]):
            client.jobs.cancel(left.id)
            print(f"cancelled {left.id} of an earlier demo", flush=True)
        spec = json.loads((ROOT / "examples" / "job_baseline.json").read_text())
        spec["config"]["max_epochs"] = given.epochs
        file = home / "job_baseline.json"
        file.write_text(json.dumps(spec, indent=2))

        say("ATFT-GAT-FAN, submitted over HTTP and watched as it trains")
        gogooku3("submit", file, "--watch")
        job = next(client.jobs.list())

        say("Two comparison models on the same days")
        others = {kind: compare(client, spec, kind) for kind in ("linear", "reversal")}

        say("The best checkpoint, fetched and verified")
        fetched = home / "checkpoints"
        gogooku3("fetch", job.id, "--best", "-o", fetched)
        best = next(one for one in client.jobs.checkpoints(job.id) if one.is_best)
        checkpoint = fetched / best.filename

        say("Loaded again, it scores the validation days as it did in training")
        reloaded = evaluate(checkpoint, cache, threads=spec["resources"]["cpu_threads"])
        print_comparison(cache, reloaded, others)
        difference = worst_difference(reloaded, best.metrics)
        print(f"largest difference from the figures of training: {difference:.1e}")
        print_next_steps(home, job, checkpoint, time.monotonic() - began)
        if given.keep:
            say(f"The server stays up at {url}; Ctrl-C stops it")
            signal.pause()
    return 0 if difference <= 1e-6 else 1


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--stocks", type=int, default=300)
    parser.add_argument("--days", type=int, default=900)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="leave the server running at the end")
    return parser.parse_args()


def say(title: str) -> None:
    """Head a step."""
    print(f"\n{bold(title)}", flush=True)


def bold(text: str) -> str:
    """`text` as a heading, where there is a terminal."""
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else f"== {text}"


def gogooku3(*words: str | Path) -> None:
    """Run a command of ours as a user would, its output straight to the terminal."""
    shown = [os.path.relpath(word) if isinstance(word, Path) else word for word in words]
    print(f"$ gogooku3 {shlex.join(shown)}", flush=True)
    done = subprocess.run([COMMAND, *map(str, words)], check=False)
    if done.returncode:
        sys.exit(done.returncode)


@contextmanager
def server() -> Iterator[str]:
    """`gogooku3 up` on a free port for as long as this lasts; yields its address."""
    print("$ gogooku3 up --port 0", flush=True)
    up = subprocess.Popen(
        [COMMAND, "up", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C is for this script, which then stops the server in order.
        start_new_session=True,
    )
    assert up.stdout is not None
    try:
        ready = up.stdout.readline()
        if not ready:
            sys.exit(up.wait() or 1)
        url = str(json.loads(ready)["url"])
        print(f"up at {url}", flush=True)
        yield url
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait()


def compare(client: Client, spec: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Train a comparison model on the same split; its best validation metrics."""
    config = {**spec["config"], "model": {"kind": kind}}
    job = client.jobs.create({**spec, "name": kind, "config": config})
    print(f"{kind}: {job.id}", flush=True)
    finished = client.jobs.wait(job.id)
    if finished.state != "succeeded" or finished.best is None:
        sys.exit(f"{kind} {finished.state}: {finished.reason}")
    metrics: Mapping[str, Any] = finished.best["metrics"]
    return metrics


def evaluate(checkpoint: Path, cache: Path, *, threads: int) -> Mapping[str, float | None]:
    """What a script that trades does: load the model and let it score. With as many threads as it
    was trained with: others add in another order, and stocks that are close change places."""
    import torch

    from gogooku3 import load_model

    torch.set_num_threads(threads)
    print(f'>>> gogooku3.load_model("{checkpoint.name}").evaluate("{cache.name}")', flush=True)
    return load_model(checkpoint).evaluate(cache)


def worst_difference(
    reloaded: Mapping[str, float | None], trained: Mapping[str, float | None]
) -> float:
    """Largest difference of a validation metric between the reloaded model and its training."""
    pairs = [
        (value, trained[name]) for name, value in reloaded.items() if name.startswith("valid/")
    ]
    assert pairs
    return max(
        abs(after - before) for after, before in pairs if after is not None and before is not None
    )


def print_comparison(
    cache: Path, model: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
) -> None:
    """Rank IC per horizon: what was planted, and what each model found of it."""
    from app.cli.table import print_table
    from gogooku3.data.header import read_header

    planted = (read_header(cache).planted or {})["rank_ic"]
    rows = []
    for horizon, value in sorted(planted.items(), key=lambda pair: int(pair[0])):
        name = f"valid/rank_ic@{horizon}"
        found = model[name]
        share = f"{found / value:.0%}" if found is not None and value else None
        rows.append(
            [
                f"{horizon} d",
                value,
                found,
                model.get(f"valid/rank_ic_t@{horizon}"),
                share,
                *(other[name] for other in others.values()),
            ]
        )
    columns = ["rank IC", "planted", "ATFT-GAT-FAN", "t", "recovered", *others]
    print_table(columns, rows)


def print_next_steps(home: Path, job: Job, checkpoint: Path, took_s: float) -> None:
    """Where everything is, and what to try next."""
    print(f"\ndone in {took_s:.0f} s; the checkpoint is {os.path.relpath(checkpoint)}")
    print("try next:")
    print(f"  export GOGOOKU3_HOME={os.path.relpath(home)}")
    print("  gogooku3 up                        # then, in another terminal:")
    print("  gogooku3 jobs")
    print(f"  gogooku3 jobs {job.id}")
    print("  gogooku3 submit examples/job_adabelief.json --watch")
    print("  open http://127.0.0.1:8642/docs    # every endpoint, to try in a browser")


def end(number: int, frame: FrameType | None) -> NoReturn:
    """End in order: the server is stopped on the way out."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    sys.exit(main())
