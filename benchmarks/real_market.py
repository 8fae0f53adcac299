"""ATFT-GAT-FAN beside `linear` and `reversal` on a real market, over HTTP, checkpoint reloaded.

    gogooku3 data build $GOGOOKU3_REAL_DATA/jp_dev.parquet --name jp --top 1000
    gogooku3 up &
    python benchmarks/real_market.py                     # posts three jobs and waits for them
    python benchmarks/real_market.py --jobs ID ID ID     # reports on jobs that are there

Posting again within a day finds the same jobs (the Idempotency-Key is made of the specification).
Prints Markdown for RESULTS.md: the curve of epochs, then rank IC, t and IC per horizon and model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from gogooku3 import load_model
from gogooku3.client import Client, Job

HORIZONS = (1, 5, 10, 20)
MODELS: dict[str, dict[str, Any]] = {
    "reversal": {"kind": "reversal"},
    "linear": {"kind": "linear"},
    "atft_gat_fan": {"hidden_size": 32, "dropout": 0.2, "gat": {"layers": 2}},
}


def spec(name: str, dataset: str, epochs: int, lookback: int) -> dict[str, Any]:
    """The job of one model on the split of the published baselines."""
    return {
        "name": f"real-market-{name}",
        "dataset": dataset,
        "config": {
            "seed": 1,
            "max_epochs": epochs,
            "data": {
                "lookback": lookback,
                "horizons": list(HORIZONS),
                "split": {
                    "train_end": "2016-12-30",
                    "valid_end": "2018-06-27",
                    "embargo_days": 0,
                },
            },
            "model": MODELS[name],
            "scheduler": {"kind": "warmup_cosine", "warmup_epochs": 0.3},
        },
        "resources": {"cpu_threads": os.cpu_count() or 1},
    }


def post(client: Client, body: dict[str, Any]) -> str:
    """Create the job, or find the one that this very specification made."""
    key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
    return client.jobs.create(body, idempotency_key=key).id


def best_metrics(job: Job) -> dict[str, float]:
    """The validation metrics of the job's best epoch."""
    if job.best is None:
        raise SystemExit(f"{job.id} ended {job.state} without a complete epoch: {job.reason}")
    return dict(job.best["metrics"])


def curve(client: Client, job_id: str) -> None:
    """Print one row per epoch."""
    print(f"\n{job_id}: epochs\n")
    print("| epoch | train loss | valid loss | valid rank IC | valid IC | seconds | peak RSS |")
    print("|---|---|---|---|---|---|---|")
    for event in client.jobs.events(job_id):
        if event.type != "epoch":
            continue
        m = event.payload["metrics"]
        print(
            f"| {event.payload['epoch']} | {m.get('train/loss') or float('nan'):.4f} "
            f"| {m['valid/loss']:.4f} | {m['valid/rank_ic']:.4f} | {m['valid/ic']:.4f} "
            f"| {event.payload['duration_s']:.0f} | {m['sys/peak_rss_bytes'] / 1e9:.2f} GB |"
        )


def comparison(jobs: list[Job]) -> None:
    """Print one row per model: rank IC (Newey-West t) and IC for each horizon."""
    print("\nvalidation: rank IC (Newey-West t) [95 % interval] / IC, per horizon\n")
    print("| model | " + " | ".join(f"h = {h}" for h in HORIZONS) + " |")
    print("|---|" + "---|" * len(HORIZONS))
    for job in jobs:
        metrics = {key.removeprefix("valid/"): v for key, v in best_metrics(job).items()}
        cells = [
            f"{metrics[f'rank_ic@{h}']:.4f} ({metrics[f'rank_ic_t@{h}']:.1f}) "
            f"[{metrics[f'rank_ic_low@{h}']:.4f}, {metrics[f'rank_ic_high@{h}']:.4f}] "
            f"/ {metrics[f'ic@{h}']:.4f}"
            for h in HORIZONS
        ]
        print(f"| {(job.config or {})['model']['kind']} | " + " | ".join(cells) + " |")


def reload(client: Client, job_id: str, cache: Path) -> float:
    """Fetch the best checkpoint, evaluate it afresh; the largest difference of a rank IC."""
    with tempfile.TemporaryDirectory() as folder:
        path = client.jobs.best_checkpoint(job_id, Path(folder) / "best.gk3")
        again = load_model(path).evaluate(cache, split="valid")
    best = best_metrics(client.jobs.get(job_id))
    names = [name for name in best if name.startswith("valid/rank_ic")]
    return max(abs(best[name] - (again[name] or 0.0)) for name in names)


def main() -> int:
    """Post or find the jobs, wait, report; 0 when the checkpoint reproduces its rank IC."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset", default="jp")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lookback", type=int, default=20)
    parser.add_argument("--jobs", nargs="+", help="report on these jobs, the big model last")
    options = parser.parse_args()
    home = Path(os.environ.get("GOGOOKU3_HOME", ".gogooku3"))
    with Client() as client:
        ids = options.jobs or [
            post(client, spec(name, options.dataset, options.epochs, options.lookback))
            for name in MODELS
        ]
        for job_id in ids:
            client.jobs.wait(job_id)
        jobs = [client.jobs.get(job_id) for job_id in ids]
        curve(client, ids[-1])
        comparison(jobs)
        difference = reload(client, ids[-1], home / "caches" / f"{jobs[-1].dataset}.arrow")
        print(f"\ncheckpoint fetched and reloaded: largest rank IC difference {difference:.1e}")
    return 0 if difference <= 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
