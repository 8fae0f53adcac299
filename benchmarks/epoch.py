"""What an epoch spends its time on: waiting for batches, training, evaluating.

`python benchmarks/epoch.py [--stocks 2000] [--days 16]` trains one short epoch (four blocks of so
many days) of each form of ATFT-GAT-FAN (hidden 64, 112 features, look-back 60, every stock of the
day) on a synthetic market through the trainer itself, and prints the share of the training time
that was spent on waiting for batches, seconds a day of training and of evaluation, and the
evaluation's share of an epoch of 1,150 training and 350 validation days.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from gogooku3.config import TrainConfig
from gogooku3.data.build import build
from gogooku3.data.header import read_header
from gogooku3.data.synth import synthesise
from gogooku3.training.trainer import train

FAST = {"fan": {"kind": "streaming"}, "encoder": {"kind": "attention"}}
TRAIN_DAYS, VALID_DAYS = 1150, 350
BLOCKS = 4
"""The first batch of an epoch is waited for; the others are made meanwhile."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stocks", type=int, default=2000)
    parser.add_argument("--days", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "market.arrow"
        made = synthesise(stocks=given.stocks, days=150 + (BLOCKS + 1) * given.days, seed=0)
        build(made.table, name="market", out=dataset, horizons=(1,))
        print("| form | data wait share | train s/day | evaluate s/day | evaluation / epoch |")
        print("|---|---|---|---|---|")
        for name, model, block in (
            ("default", {}, 1),
            ("row by row", FAST, 1),
            ("shared rows", FAST, given.days),
        ):
            print(measure(dataset, name, model, block, given.days, Path(folder)), flush=True)


def measure(
    dataset: Path, name: str, model: dict[str, Any], block: int, days: int, folder: Path
) -> str:
    calendar = read_header(dataset).calendar
    config = TrainConfig.model_validate(
        {
            "max_epochs": 1,
            "data": {
                "horizons": (1,),
                "split": {
                    "train_start": calendar[-(BLOCKS + 1) * days - 2],
                    "train_end": calendar[-days - 2],
                    "valid_end": calendar[-1],
                    "embargo_days": 0,
                },
            },
            "model": model,
            "batch": {"days_per_step": block, "block_days": block},
            "evaluation": {"train_days": 0},
        }
    )
    out_dir = folder / name.replace(" ", "-")
    # The first run makes the graphs, and warms what can be warmed; the second is told.
    for place in ("first", "second"):
        result = train(config, dataset=dataset, out_dir=out_dir / place, on_event=lambda e: None)
    metrics = result.epochs[0].metrics
    train_s = BLOCKS * days / (metrics["sys/days_per_s"] or 0.0)
    train_day_s = train_s / (BLOCKS * days)
    evaluate_day_s = (metrics["sys/evaluation_s"] or 0.0) / days
    evaluation_s = VALID_DAYS * evaluate_day_s
    share = evaluation_s / (evaluation_s + TRAIN_DAYS * train_day_s)
    wait = metrics["sys/data_wait_share"] or 0.0
    return f"| {name} | {wait:.2%} | {train_day_s:.2f} | {evaluate_day_s:.2f} | {share:.1%} |"


if __name__ == "__main__":
    main()
