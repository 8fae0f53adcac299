"""Batches against windows cut by hand from the panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import rankdata

from gogooku3.config import BatchConfig, DataConfig
from gogooku3.data.batch import Batch
from gogooku3.data.batches import BatchMaker
from gogooku3.data.epochs import epoch_batches, epoch_blocks, epoch_days, steps_per_epoch
from gogooku3.data.panel import Panel
from gogooku3.data.rows import RowReader
from gogooku3.errors import DatasetMismatchError

Config = Callable[..., DataConfig]


def same(left: Batch, right: Batch) -> bool:
    """Bit for bit the same tensors."""
    names = [f.name for f in fields(Batch) if f.name != "rows"]
    pairs = [(getattr(left, name), getattr(right, name)) for name in names]
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
    for reuse in (0, 1):
        chosen = BatchMaker(panel, data_config(features=names), reuse=reuse)
        assert chosen.features == names
        wanted = whole.x_BNTF[..., panel.columns_of(names)]
        assert torch.equal(chosen.make([100]).x_BNTF, wanted)
    with pytest.raises(DatasetMismatchError, match="gap_2"):
        BatchMaker(panel, data_config(features=("gap_2",)))


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_reused_memory_is_taken_in_turn(panel: Panel, data_config: Config, pieces: int) -> None:
    own, shared = (BatchMaker(panel, data_config(), reuse=reuse) for reuse in (0, pieces))
    for days in ([70], [70, 71, 72], [180], [70, 71, 72], [70, 71, 72]):
        assert same(own.make(days), shared.make(days))
    made = [shared.make([day]) for day in range(90, 90 + 2 * pieces)]
    places = [batch.x_BNTF.data_ptr() for batch in made]
    assert len(set(places)) == pieces
    assert places[:pieces] == places[pieces:]
    for batch, day in zip(made[pieces:], range(90 + pieces, 90 + 2 * pieces), strict=True):
        assert same(batch, own.make([day]))
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


def scored(batch: Batch, day: int) -> dict[str, torch.Tensor]:
    """What a batch holds of a day's scored stocks."""
    place = batch.day_B.tolist().index(day)
    at_N = batch.mask_BN[place]
    skipped = ("day_B", "mask_BN", "neighbour_BNM", "edge_BNME", "rows")
    names = [f.name for f in fields(Batch) if f.name not in skipped]
    return {name: getattr(batch, name)[place][at_N] for name in names}


def assert_same_days(whole: Batch, maker: BatchMaker) -> None:
    """Every day of a batch is, stock by stock and bit by bit, that day's own batch."""
    for day in whole.day_B.tolist():
        found, wanted = scored(whole, day), scored(maker.make([day]), day)
        assert wanted["stock_BN"].numel()
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("reuse", [0, 1, 2])
@pytest.mark.parametrize("days", [[60, 61, 62, 63, 64], [120], [53, 54]])
def test_a_block_holds_each_of_its_days_exactly(
    loose_panel: Panel, data_config: Config, days: list[int], reuse: int
) -> None:
    panel = loose_panel
    batch = BatchMaker(panel, data_config(), reuse=reuse).block(days)
    assert_same_days(batch, BatchMaker(panel, data_config()))
    somebody_S = panel.universe_TN[days[0] : days[-1] + 1].any(0)
    assert batch.rows is not None
    assert batch.rows.stock_S.tolist() == somebody_S.nonzero().squeeze(1).tolist()
    assert batch.rows.x_LSF.shape[0] == 20 + len(days) - 1
    assert torch.equal(batch.rows.sector_S, panel.sector_N[batch.rows.stock_S])
    places = range(len(days))
    for b in places:
        not_scored_N = ~batch.mask_BN[b]
        assert (batch.stock_BN[b, not_scored_N] == -1).all()
        assert not batch.valid_BNK[b, not_scored_N].any()
        assert batch.return_BNK[b, not_scored_N].isnan().all()


def test_the_windows_of_a_block_are_views_of_its_rows(panel: Panel, data_config: Config) -> None:
    batch = BatchMaker(panel, data_config()).block([70, 71, 72])
    rows = batch.rows
    assert rows is not None
    for view, whole in (
        (batch.x_BNTF, rows.x_LSF),
        (batch.present_BNT, rows.present_LS),
        (batch.past_return_BNT, rows.past_return_LS),
    ):
        assert view.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
        for b in range(3):
            assert torch.equal(view[b].transpose(0, 1), whole[b : b + 20])
    assert batch.x_BNTF.flatten(0, 1).data_ptr() == rows.x_LSF.data_ptr()
    moved = batch.to(torch.device("cpu"))
    assert same(moved, batch)
    assert moved.rows is not None
    assert moved.x_BNTF.data_ptr() == moved.rows.x_LSF.data_ptr()


def test_a_block_draws_its_stocks_once(loose_panel: Panel, data_config: Config) -> None:
    maker = BatchMaker(loose_panel, data_config())
    days = [100, 101, 102, 103]
    drawn = maker.block(days, 12, torch.Generator().manual_seed(1))
    again = maker.block(days, 12, torch.Generator().manual_seed(1))
    other = maker.block(days, 12, torch.Generator().manual_seed(2))
    assert same(drawn, again)
    assert drawn.rows is not None
    assert other.rows is not None
    assert drawn.rows.stock_S.shape == (12,)
    assert not torch.equal(drawn.rows.stock_S, other.rows.stock_S)
    whole = maker.block(days)
    assert whole.rows is not None
    place_S = torch.searchsorted(whole.rows.stock_S, drawn.rows.stock_S)
    assert torch.equal(drawn.x_BNTF, whole.x_BNTF[:, place_S])
    assert torch.equal(drawn.target_BNK, whole.target_BNK[:, place_S])
    with pytest.raises(ValueError, match="generator"):
        maker.block(days, 12)
    with pytest.raises(ValueError, match="consecutive"):
        maker.block([100, 102])


@pytest.mark.parametrize("reuse", [0, 1, 2])
def test_consecutive_blocks_hold_each_day_once(
    loose_panel: Panel, data_config: Config, reuse: int
) -> None:
    own = BatchMaker(loose_panel, data_config())
    maker = BatchMaker(loose_panel, data_config(), reuse=reuse)
    days = [*range(60, 141), *range(160, 167)]
    seen = []
    for batch in maker.blocks(days, 3):
        assert len(batch.day_B) <= 3
        seen += batch.day_B.tolist()
        assert_same_days(batch, own)
    assert seen == days


def test_the_next_block_reads_its_own_rows_only(
    panel: Panel, data_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = BatchMaker(panel, data_config())
    read: list[list[int]] = []
    plain = RowReader.read

    def noted(self: RowReader, row_SN: torch.Tensor, day_S: range, out: torch.Tensor) -> None:
        read.append(list(day_S))
        plain(self, row_SN, day_S, out)

    monkeypatch.setattr(RowReader, "read", noted)
    first, second, third = maker.blocks(range(100, 106), 2)
    assert read == [list(range(81, 102)), [102, 103], [104, 105]]
    # Blocks of a stretch overlap in memory: what they share was not copied.
    assert first.rows is not None
    assert third.rows is not None
    assert third.rows.x_LSF.data_ptr() == first.rows.x_LSF[4].data_ptr()
    assert second.day_B.tolist() == [102, 103]


def test_a_block_before_the_first_universe_is_padding(panel: Panel, data_config: Config) -> None:
    batch = BatchMaker(panel, data_config()).block([10, 11])
    assert batch.mask_BN.shape == (2, 1)
    assert not batch.mask_BN.any()
    assert not batch.present_BNT.any()
    assert (batch.x_BNTF == 0).all()


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


@pytest.mark.parametrize("block_days", [2, 3, 4, 7, 64])
def test_every_epoch_has_as_many_blocks_whose_borders_move(block_days: int) -> None:
    for length in range(1, 40):
        days = [*range(100, 100 + length), *range(200, 223)]
        config = BatchConfig(block_days=block_days, days_per_step=block_days)
        steps = steps_per_epoch(days, config)
        starts = set()
        for epoch in range(1, 30):
            batches = epoch_batches(days, config, 3, epoch)
            assert len(batches) == steps
            assert sorted(day for batch in batches for day in batch) == days
            for batch in batches:
                assert batch == list(range(batch[0], batch[0] + len(batch)))
                assert len(batch) <= block_days
            starts |= {batch[0] for batch in batches if batch[0] > 200}
        if block_days < 23:
            assert len(starts) >= 23 // block_days * (block_days // 2)


def test_single_days_are_grouped_as_ever() -> None:
    days = list(range(40, 93))
    config = BatchConfig(days_per_step=4, accumulate=2)
    assert epoch_batches(days, config, 7, 3) == epoch_days(days, 7, 3, 4)
    assert steps_per_epoch(days, config) == 7
    blocks = BatchConfig(days_per_step=8, block_days=4, accumulate=2)
    assert blocks.batches_per_step == 4
    assert steps_per_epoch(days, blocks) == 4


@pytest.mark.parametrize(("days", "block", "hint"), [(1, 5, "= 5"), (6, 4, "= 8")])
def test_a_step_has_whole_blocks(days: int, block: int, hint: str) -> None:
    with pytest.raises(ValidationError, match=hint):
        BatchConfig(days_per_step=days, block_days=block)
