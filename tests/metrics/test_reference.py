"""The reference of metrics is what the code computes."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from gogooku3.metrics import daily_series, summarise
from gogooku3.metrics.daily import SERIES
from gogooku3.metrics.reference import DAILY, HORIZON, MACHINE, TRAINING, Group, reference

ROOT = Path(__file__).parents[2]


def names(group: Group) -> list[str]:
    return [metric.name for metric in group.metrics]


def test_page_is_up_to_date() -> None:
    command = "python -m gogooku3.metrics.reference > docs/metrics.md"
    assert (ROOT / "docs" / "metrics.md").read_text() == reference(), f"write it again: {command}"


def test_every_figure_of_days_and_horizons_has_its_formula() -> None:
    assert names(DAILY) == list(SERIES)
    drawn = torch.rand(30, 20, 1, generator=torch.Generator().manual_seed(0))
    series = daily_series(drawn, drawn.flip(0), torch.ones(30, 20, 1, dtype=torch.bool), (1,))
    computed = {name.partition("@")[0] for name in summarise(series)}
    assert set(names(HORIZON)) == computed


def test_every_figure_of_the_machine_is_named() -> None:
    code = "".join(path.read_text() for path in (ROOT / "gogooku3" / "training").glob("*.py"))
    assert set(re.findall(r'"(sys/\w+)"', code)) == set(names(MACHINE))
    assert {"train/loss", "train/lr", "train/grad_norm"} <= set(names(TRAINING))
