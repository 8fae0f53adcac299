"""Batches against windows cut by hand from the panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from gogooku3.config import DataConfig
from gogooku3.data.batch import Batch
from gogooku3.data.batches import BatchMaker
from gogooku3.data.epochs import epoch_blocks, epoch_days
from gogooku3.data.panel import Panel
from gogooku3.errors import DatasetMismatchError

Config = Callable[..., DataConfig]


def same(left: Batch, right: Batch) -> bool:
    """Bit for bit the same tensors."""
    pairs = [(getattr(left, f.name), getattr(right, f.name)) for f in fields(Batch)]
    return all(
        (a is None and b is None) or (a.shape == b.shape and np.array_equal(a, b, equal_nan=True))
        if a is None or a.is_floating_point()
        else torch.equal(a, b)
        for a, b in pairs
    )


def test_a_batch_holds_the_windows_of_each_days_universe(panel: Panel, data_config: Config) -> None:
    data = data_config(horizons=(5, 20))
    days = [60, 150, 97]
    batch = BatchMaker(panel, data).make(days)
    assert batch.day_B.tolist() == days
    # Market features are scaled.
    stock_F = torch.tensor([info.role == "stock" for info in panel.header.features])
    absent = 0
    for place, day in enumerate(days):
        scored = torch.nonzero(panel.universe_TN[day]).squeeze(1).tolist()
        assert batch.stock_BN[place][batch.mask_BN[place]].tolist() == scored
        for n, stock in enumerate(scored):
            assert batch.sector_BN[place, n] == panel.sector_N[stock]
            for t in range(20):
                row = int(panel.row_of_TN[day - 19 + t, stock])
                assert batch.present_BNT[place, n, t] == (row >= 0)
                x_F = batch.x_BNTF[place, n, t]
                if row < 0:
                    absent += 1
                    assert (x_F == 0).all()
                    assert batch.past_return_BNT[place, n, t] == 0
                else:
                    assert torch.equal(x_F[stock_F], panel.features_RF[row, stock_F])
                    known = panel.return_R[row].nan_to_num(0.0)
                    assert batch.past_return_BNT[place, n, t] == known
            wanted_K = panel.targets_RK[int(panel.row_of_TN[day, stock])][[1, 3]]
            assert np.array_equal(batch.return_BNK[place, n], wanted_K, equal_nan=True)
            assert torch.equal(batch.valid_BNK[place, n], ~wanted_K.isnan())
    assert absent > 0


def test_padded_places_are_empty_in_every_tensor(loose_panel: Panel, data_config: Config) -> None:
    panel = loose_panel
    sizes = panel.universe_TN.sum(1)
    small = int(torch.nonzero(sizes == sizes[54:].min())[0])
    large = int(sizes.argmax())
    assert sizes[small] < sizes[large]
    batch = BatchMaker(panel, data_config()).make([small, large])
    padding_N = ~batch.mask_BN[0]
    assert int(padding_N.sum()) == int(sizes[large] - sizes[small])
    assert (batch.stock_BN[0, padding_N] == -1).all()
    assert not batch.present_BNT[0, padding_N].any()
    assert not batch.valid_BNK[0, padding_N].any()
    for name in ("x_BNTF", "sector_BN", "past_return_BNT", "target_BNK"):
        assert (getattr(batch, name)[0, padding_N] == 0).all()
    assert batch.return_BNK[0, padding_N].isnan().all()


def test_the_last_day_is_the_scored_day(panel: Panel, data_config: Config) -> None:
    batch = BatchMaker(panel, data_config()).make([120])
    assert batch.present_BNT[0, :, -1].all()
    assert batch.x_BNTF[0, :, -1].abs().sum() > 0


def test_rank_targets_are_scaled_average_ranks(panel: Panel, data_config: Config) -> None:
    batch = BatchMaker(panel, data_config(target="rank")).make([205])
    for k in range(4):
        valid_N = batch.valid_BNK[0, :, k]
        if valid_N.sum() < 2:
            assert (batch.target_BNK[0, :, k] == 0).all()
            continue
        ranks = rankdata(batch.return_BNK[0, valid_N, k].numpy())
        size = len(ranks)
        wanted = (ranks - (size + 1) / 2) / np.sqrt((size**2 - 1) / 12)
        np.testing.assert_allclose(batch.target_BNK[0, valid_N, k], wanted, rtol=1e-5, atol=1e-6)
        assert (batch.target_BNK[0, ~valid_N, k] == 0).all()
    # Day 205 of 220 has no 20-day returns.
    assert not batch.valid_BNK[0, :, 3].any()


def test_zscore_and_raw_targets(panel: Panel, data_config: Config) -> None:
    raw = BatchMaker(panel, data_config(target="raw")).make([150])
    valid_NK = raw.valid_BNK[0]
    assert torch.equal(raw.target_BNK[0], raw.return_BNK[0].nan_to_num(0.0))
    z_NK = BatchMaker(panel, data_config(target="zscore")).make([150]).target_BNK[0]
    for k in range(4):
        returns = raw.return_BNK[0, valid_NK[:, k], k].double()
        wanted = ((returns - returns.mean()) / returns.std(correction=0)).clamp(-5, 5)
        np.testing.assert_allclose(z_NK[valid_NK[:, k], k], wanted, rtol=1e-4, atol=1e-5)
        assert (z_NK[~valid_NK[:, k], k] == 0).all()


def test_features_are_chosen_by_name_in_the_order_given(panel: Panel, data_config: Config) -> None:
    whole = BatchMaker(panel, data_config()).make([100])
    names = ("volatility_20", "return_1", "gap_1")
    for reuse in (False, True):
        chosen = BatchMaker(panel, data_config(features=names), reuse=reuse)
        assert chosen.features == names
        wanted = whole.x_BNTF[..., panel.columns_of(names)]
        assert torch.equal(chosen.make([100]).x_BNTF, wanted)
    with pytest.raises(DatasetMismatchError, match="gap_2"):
        BatchMaker(panel, data_config(features=("gap_2",)))


def test_reused_memory_holds_the_same_values_until_the_next_batch(
    panel: Panel, data_config: Config
) -> None:
    own, shared = (BatchMaker(panel, data_config(), reuse=reuse) for reuse in (False, True))
    for days in ([70], [70, 71, 72], [180]):
        assert same(own.make(days), shared.make(days))
    first, second = shared.make([90]), shared.make([91])
    assert first.x_BNTF.data_ptr() == second.x_BNTF.data_ptr()
    first, second = own.make([90]), own.make([91])
    assert first.x_BNTF.data_ptr() != second.x_BNTF.data_ptr()
    assert same(first, own.make([90]))


def test_drawn_stocks_keep_their_targets(panel: Panel, data_config: Config) -> None:
    maker = BatchMaker(panel, data_config())
    whole = maker.make([100])
    place_of = {int(stock): n for n, stock in enumerate(whole.stock_BN[0])}
    drawn = maker.make([100], 12, torch.Generator().manual_seed(1))
    again = maker.make([100], 12, torch.Generator().manual_seed(1))
    other = maker.make([100], 12, torch.Generator().manual_seed(2))
    assert same(drawn, again)
    assert drawn.stock_BN.shape == (1, 12)
    assert not torch.equal(drawn.stock_BN, other.stock_BN)
    places = [place_of[int(stock)] for stock in drawn.stock_BN[0]]
    assert places == sorted(set(places))
    assert torch.equal(drawn.target_BNK[0], whole.target_BNK[0, places])
    assert torch.equal(drawn.x_BNTF[0], whole.x_BNTF[0, places])
    assert same(maker.make([100], 500, torch.Generator()), whole)
    with pytest.raises(ValueError, match="generator"):
        maker.make([100], 12)


def test_a_day_without_a_universe_is_padding(panel: Panel, data_config: Config) -> None:
    batch = BatchMaker(panel, data_config()).make([30])
    assert not batch.mask_BN.any()
    assert not batch.valid_BNK.any()
    assert batch.x_BNTF.shape == (1, 1, 20, len(panel.header.features))


def test_the_makers_split_starts_with_the_first_universe(panel: Panel, data_config: Config) -> None:
    maker = BatchMaker(panel, data_config())
    assert maker.split.train_D[0] == panel.header.first_day == 53
    days = [*maker.split.train_D, *maker.split.valid_D]
    assert all(bool(panel.universe_TN[day].any()) for day in days)


def test_epoch_days_are_a_shuffle_that_seed_and_epoch_fix() -> None:
    days = list(range(40, 93))
    steps = epoch_days(days, seed=7, epoch=3, days_per_step=4)
    assert [len(step) for step in steps] == [4] * 13 + [1]
    flat = [day for step in steps for day in step]
    assert sorted(flat) == days
    assert flat != days
    assert steps == epoch_days(days, seed=7, epoch=3, days_per_step=4)
    assert steps != epoch_days(days, seed=7, epoch=4, days_per_step=4)
    assert steps != epoch_days(days, seed=8, epoch=3, days_per_step=4)
    assert epoch_days([], seed=0, epoch=0, days_per_step=1) == []


def test_epoch_blocks_hold_consecutive_days_in_an_order_that_seed_and_epoch_fix() -> None:
    days = [*range(40, 93), *range(110, 131)]
    blocks = epoch_blocks(days, seed=7, epoch=3, block_days=4)
    assert sorted(day for block in blocks for day in block) == days
    assert all(block == list(range(block[0], block[0] + len(block))) for block in blocks)
    # At most the first and last of each of the two runs are smaller.
    assert sum(len(block) < 4 for block in blocks) <= 4
    assert blocks != sorted(blocks)
    assert blocks == epoch_blocks(days, seed=7, epoch=3, block_days=4)
    others = [epoch_blocks(days, seed=7, epoch=epoch, block_days=4) for epoch in range(4, 9)]
    others.append(epoch_blocks(days, seed=8, epoch=3, block_days=4))
    assert blocks not in others
    # A day has other company in other epochs.
    firsts = {min(block) % 4 for epoch in others for block in epoch if len(block) == 4}
    assert len(firsts) > 1
    assert epoch_blocks([], seed=0, epoch=0, block_days=3) == []
    assert sorted(epoch_blocks([5, 6], seed=0, epoch=0, block_days=64), key=len)[-1][0] in (5, 6)
