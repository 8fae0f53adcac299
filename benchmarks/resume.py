"""SIGKILL a run at random moments, go on each time: the end must be the same, bit for bit.

`python benchmarks/resume.py [--kills 20] [--seed 0]` trains a small ATFT-GAT-FAN with everything
that has a state (EMA, AdaBelief, plateau schedule, accumulation, drawn stocks, dropout, early
stopping) once without a break, and once with so many kills of the real process, at times drawn from
the whole of its life: while it loads, trains, evaluates and writes. A run that ends before its next
kill is compared, and the next one begins. Resume states are written every 0.2 s, within epochs too.
Exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gogooku3.config import TrainConfig
from gogooku3.data.build import build
from gogooku3.data.header import read_header
from gogooku3.data.synth import synthesise
from gogooku3.events import RunRequest

SAVE_S = 0.2
CONFIG: dict[str, Any] = {
    "seed": 5,
    "max_epochs": 6,
    "model": {"hidden_size": 8, "encoder": {"heads": 2}, "fan": {"top_k": 1}, "gat": {"layers": 1}},
    "optimizer": {"kind": "adabelief", "lr": 0.003, "ema_decay": 0.98},
    "scheduler": {"kind": "plateau", "patience": 1},
    "batch": {"days_per_step": 4, "accumulate": 2, "stocks_per_step": 24},
    "early_stopping": {"patience": 9},
    "evaluation": {"train_days": 4},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child()
    with tempfile.TemporaryDirectory() as folder:
        return compare(Path(folder), given.kills, random.Random(given.seed))


def compare(folder: Path, kills: int, rng: random.Random) -> int:
    made = synthesise(stocks=40, days=160, seed=1)
    dataset = folder / "market.arrow"
    build(made.table, name="market", out=dataset, horizons=(1, 5))
    calendar = read_header(dataset).calendar
    split = {"train_end": calendar[130], "valid_end": calendar[-1], "embargo_days": 2}
    data = {"lookback": 10, "horizons": (1, 5), "split": split}
    config = TrainConfig.model_validate({**CONFIG, "data": data})

    began = time.monotonic()
    whole = Attempt(RunRequest(config=config, dataset=dataset, out_dir=folder / "whole"), None)
    whole_s = time.monotonic() - began
    assert whole.code == 0, whole.code
    print(f"uninterrupted: {whole_s:.1f} s, {len(whole.epochs)} epochs", flush=True)

    left, number, is_same = kills, 0, True
    while left > 0:
        killed, number, same = sequence(config, dataset, folder, whole, whole_s, left, number, rng)
        left, is_same = left - killed, is_same and same
    return 0 if is_same else 1


def sequence(
    config: TrainConfig,
    dataset: Path,
    folder: Path,
    whole: Attempt,
    whole_s: float,
    kills: int,
    number: int,
    rng: random.Random,
) -> tuple[int, int, bool]:
    """One run to its end, killed so often at most: kills, attempts so far, whether it is whole."""
    killed, points, resume, epochs = 0, [], None, list[int]()
    while True:
        number += 1
        request = RunRequest(
            config=config,
            dataset=dataset,
            out_dir=folder / f"attempt-{number}",
            resume=resume,
            recorded_epoch=max(epochs, default=0),
        )
        after_s = rng.uniform(0.0, whole_s) if killed < kills else None
        run = Attempt(request, after_s)
        epochs += run.epochs
        resume = run.resume or resume
        points.append(run.point)
        if run.code == 0:
            break
        if run.code != -signal.SIGKILL:
            print(f"attempt {number} ended with {run.code}")
            return kills, number, False
        killed += 1
    last = sorted((folder / "whole").glob("epoch-*.gk3"))[-1].name
    mine, theirs = ((folder / part / last).read_bytes() for part in ("whole", f"attempt-{number}"))
    same_events = epochs == whole.epochs
    print(f"killed {killed} times; the last resume point (epoch, step) of each attempt: {points}")
    print(f"last checkpoint {last}: {'the same bytes' if mine == theirs else 'DIFFERENT'}")
    print(f"epochs told once each: {same_events}")
    return killed, number, mine == theirs and same_events


class Attempt:
    """One process, killed after some seconds; what it told."""

    def __init__(self, request: RunRequest, after_s: float | None) -> None:
        self.epochs: list[int] = []
        self.resume: Path | None = None
        self.point: tuple[int, int] | None = None
        process = subprocess.Popen(
            [sys.executable, __file__, "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request.model_dump_json().encode())
        process.stdin.close()
        if after_s is not None:
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                process.kill()
        for line in process.stdout:
            self._hear(line, request)
        self.code = process.wait()

    def _hear(self, line: bytes, request: RunRequest) -> None:
        if not line.endswith(b"\n"):
            return  # cut off by the kill
        event = json.loads(line)
        if event["type"] == "epoch":
            self.epochs.append(event["epoch"])
        elif event["type"] == "resume_point":
            self.resume = request.out_dir / event["path"]
            self.point = (event["epoch"], event["step"])


def child() -> int:
    import torch

    from gogooku3.training.trainer import train

    torch.set_num_threads(1)
    request = RunRequest.model_validate_json(sys.stdin.buffer.read())
    train(
        request.config,
        dataset=request.dataset,
        out_dir=request.out_dir,
        on_event=lambda event: print(event.model_dump_json(), flush=True),
        resume=request.resume,
        recorded_epoch=request.recorded_epoch,
        resume_interval_s=SAVE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
