"""Arithmetic and memory traffic of an epoch on an H200, counted: what a GPU could do at best.

`python benchmarks/flops.py [--hidden 256] [--layers 3]` runs one training step (forward and
backward) of each form of ATFT-GAT-FAN on a small market with all 112 features and a look-back of
60, counts the floating-point operations of its matrix products (torch's FlopCounterMode) and the
bytes that its kernels read and write (each operation's inputs and outputs, views left out, halved
for bf16), and scales both to 8.9 million samples. Nothing is timed: without a GPU the figures are
limits, not forecasts. The floor is operations / 790 TFLOP/s, what an H200 reaches in bf16; the
traffic is that of one kernel per operation, which fusing (torch.compile) lowers.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from gogooku3.config import TrainConfig
from gogooku3.data.build import build
from gogooku3.data.header import read_header
from gogooku3.data.synth import synthesise
from gogooku3.training.experiment import Experiment

SAMPLES = 8_900_000
FLOPS_PER_S = 790e12
BYTES_PER_S = 4.3e12
BLOCK_DAYS = 16
FAST = {"fan": {"kind": "streaming"}, "encoder": {"kind": "attention"}}
FORMS: Mapping[str, tuple[dict[str, Any], int, float]] = {
    "reference (window, LSTM)": ({}, 1, 90.0),
    "row by row (streaming, attention)": (FAST, 1, 30.0),
    f"shared rows, blocks of {BLOCK_DAYS} days": (FAST, BLOCK_DAYS, 10.0),
}
"""Model settings, days of a block, and the target in seconds."""


class Traffic(TorchDispatchMode):
    """Bytes that operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        read = [value for value in tensors(args) if value.numel()]
        written = [value for value in tensors(out) if value.numel()]
        places = {value.untyped_storage().data_ptr() for value in read}
        is_view = func.is_view or all(
            value.untyped_storage().data_ptr() in places for value in written
        )
        if not is_view or func._schema.name.endswith("_"):
            self.bytes += sum(value.numel() * value.element_size() for value in (*read, *written))
        return out


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [found for item in value for found in tensors(item)]
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3)
    given = parser.parse_args()
    # The fused LSTM of oneDNN is one operation, whose products nobody counts.
    torch.backends.mkldnn.enabled = False
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "market.arrow"
        made = synthesise(stocks=64, days=330, seed=0)
        build(made.table, name="market", out=dataset, horizons=(1, 5, 10, 20))
        features = len(read_header(dataset).features)
        print(
            f"{SAMPLES:,} samples, {features} features, hidden {given.hidden}, "
            f"{given.layers} GAT layers"
        )
        print(
            "| form | MFLOP/sample | PFLOP/epoch | floor s | traffic TB/epoch (bf16) | "
            "at 4.3 TB/s s | target s | target / floor |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for name, (settings, block_days, target_s) in FORMS.items():
            model = {"hidden_size": given.hidden, "gat": {"layers": given.layers}, **settings}
            flops, moved = count(dataset, model, block_days)
            floor_s = flops * SAMPLES / FLOPS_PER_S
            print(
                f"| {name} | {flops / 1e6:.0f} | {flops * SAMPLES / 1e15:.2f} | {floor_s:.1f} | "
                f"{moved * SAMPLES / 1e12:.0f} | {moved * SAMPLES / BYTES_PER_S:.0f} | "
                f"{target_s:.0f} | {target_s / floor_s:.0f} |"
            )


def count(dataset: Path, model: dict[str, Any], block_days: int) -> tuple[float, float]:
    """Operations, and bytes in bf16, of a training step per sample."""
    calendar = read_header(dataset).calendar
    config = TrainConfig.model_validate(
        {
            "data": {"split": {"train_end": calendar[280], "valid_end": calendar[-1]}},
            "model": model,
            "batch": {"days_per_step": block_days, "block_days": block_days},
        }
    )
    experiment = Experiment.open(config, dataset, "cpu")
    assert experiment.learner is not None
    batch = experiment.feed.batch(experiment.split.train_D[-block_days:])
    experiment.model.train()
    counter, traffic = FlopCounterMode(display=False), Traffic()
    with counter, traffic:
        score_BNK = experiment.model(batch).score_BNK
        loss, _ = experiment.learner.loss(score_BNK, batch.target_BNK, batch.valid_BNK)
        loss.backward()
    samples = int(batch.mask_BN.sum())
    return counter.get_total_flops() / samples, traffic.bytes / 2 / samples


if __name__ == "__main__":
    main()
