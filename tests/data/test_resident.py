"""Rows gathered where they lie are the rows the CPU reads, bit for bit, in every kind of batch."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal

import pytest
import torch

from gogooku3.config import DataConfig
from gogooku3.data.batch import Batch, BlockRows
from gogooku3.data.batches import BatchMaker
from gogooku3.data.build import build
from gogooku3.data.panel import Panel
from gogooku3.data.resident import is_room
from gogooku3.data.synth import synthesise


@pytest.fixture(scope="module", params=["float32", "float16"])
def panel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Panel:
    storage: Literal["float32", "float16"] = request.param
    made = synthesise(stocks=30, days=160, seed=2)
    path = tmp_path_factory.mktemp("resident") / "market.arrow"
    build(made.table, name="market", out=path, horizons=(1, 5), storage=storage)
    return Panel.open(path)


def same(one: Any, other: Any) -> None:
    for field in fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, BlockRows):
            same(mine, theirs)
        elif mine is not None:
            assert torch.equal(mine.nan_to_num(nan=9e9), theirs.nan_to_num(nan=9e9)), field.name


@pytest.mark.parametrize("is_subset", [False, True], ids=["all", "some"])
def test_a_batch_is_the_same_wherever_its_rows_lie(panel: Panel, is_subset: bool) -> None:
    names = panel.header.feature_names
    market = [f.name for f in panel.header.features if f.role == "market"]
    assert market
    split = {"train_end": panel.calendar[110], "valid_end": panel.calendar[-1]}
    data = DataConfig.model_validate(
        {
            "lookback": 12,
            "horizons": (1, 5),
            "split": split,
            "features": (*names[5:9], market[0], names[1]) if is_subset else None,
        }
    )
    cpu = torch.device("cpu")
    plain, resident = BatchMaker(panel, data), BatchMaker(panel, data, resident=cpu, reuse=1)
    early = panel.header.first_day

    def batches(maker: BatchMaker) -> list[Batch]:
        drawn = torch.Generator().manual_seed(1)
        made = [maker.make([100, 3, early, 90]), maker.make([95, 96], 7, drawn)]
        return [*made, maker.block([80, 81, 82]), *maker.blocks([60, 61, 62, 70], 2)]

    mine = batches(plain)
    drawn = torch.Generator().manual_seed(1)
    # Each is compared before the next overwrites its memory.
    same(mine[0], resident.make([100, 3, early, 90]))
    same(mine[1], resident.make([95, 96], 7, drawn))
    same(mine[2], resident.block([80, 81, 82]))
    for one, other in zip(mine[3:], resident.blocks([60, 61, 62, 70], 2), strict=True):
        same(one, other)


def test_nothing_is_resident_without_a_gpu(panel: Panel) -> None:
    assert not is_room(panel, torch.device("cpu"))
