"""Targets made neutral: what is taken out, what stays unknown, and what metrics still see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from gogooku3.config import DataConfig
from gogooku3.data.batches import BatchMaker
from gogooku3.data.panel import Panel
from gogooku3.data.targets import Targets, sector_neutral
from gogooku3.errors import DatasetMismatchError

Config = Callable[..., DataConfig]
NAN = float("nan")


def test_sector_neutral_takes_out_the_mean_of_known_returns() -> None:
    return_MK = torch.tensor([[1.0], [3.0], [NAN], [5.0], [6.0], [9.0], [4.0]])
    sector_M = torch.tensor([1, 1, 1, 2, 0, 0, 3])
    neutral_MK = sector_neutral(return_MK, sector_M)
    # A return alone in its sector and those of unknown sector have nothing to be compared with.
    np.testing.assert_array_equal(
        neutral_MK.squeeze(1), np.float32([-1.0, 1.0, NAN, NAN, NAN, NAN, NAN])
    )
    assert sector_neutral(torch.empty(0, 2), torch.empty(0, dtype=torch.int64)).shape == (0, 2)


def test_a_sectors_move_does_not_reach_its_targets(panel: Panel, data_config: Config) -> None:
    day = 120
    moved_RK = panel.targets_RK.clone()
    stock_N = panel.scored_stocks(day)
    inside_N = stock_N[panel.sector_N[stock_N] == panel.sector_N[stock_N[0]]]
    assert len(inside_N) > 1
    moved_RK[panel.row_of_TN[day, inside_N].long()] += 0.5
    moved = replace(panel, targets_RK=moved_RK)
    for neutral, is_same in (("none", False), ("sector", True)):
        data = data_config(neutral=neutral, target="rank")
        before, after = (BatchMaker(p, data).make([day]) for p in (panel, moved))
        same = torch.isclose(before.target_BNK, after.target_BNK, atol=1e-5)
        # Rounding may swap two neighbouring ranks.
        assert (float(same.float().mean()) > 0.97) is is_same
        assert not torch.equal(before.return_BNK.nan_to_num(), after.return_BNK.nan_to_num())


@pytest.mark.parametrize("target", ["raw", "rank", "zscore"])
def test_the_transform_sees_neutral_returns_and_metrics_raw_ones(
    panel: Panel, data_config: Config, target: str
) -> None:
    plain = BatchMaker(panel, data_config(target=target)).make([150])
    batch = BatchMaker(panel, data_config(target=target, neutral="sector")).make([150])
    np.testing.assert_array_equal(batch.return_BNK, plain.return_BNK)
    valid_NK = batch.valid_BNK[0]
    assert (batch.target_BNK[0][~valid_NK] == 0).all()
    assert not (valid_NK & ~plain.valid_BNK[0]).any()
    assert not torch.equal(batch.target_BNK, plain.target_BNK)
    sector_N, return_NK = batch.sector_BN[0].numpy(), batch.return_BNK[0].numpy()
    if target == "raw":
        for sector in np.unique(sector_N):
            inside_MK = return_NK[sector_N == sector]
            wanted_MK = inside_MK - np.nanmean(inside_MK, axis=0)
            known_MK = valid_NK[sector_N == sector].numpy()
            found_MK = batch.target_BNK[0][sector_N == sector].numpy()
            np.testing.assert_allclose(found_MK[known_MK], wanted_MK[known_MK], atol=1e-6)


def test_drawn_stocks_keep_their_neutral_targets(panel: Panel, data_config: Config) -> None:
    targets = Targets(panel, data_config(neutral="sector"))
    stock_N = panel.scored_stocks(100)
    whole, some = targets.of(100, stock_N), targets.of(100, stock_N[3:9])
    assert torch.equal(whole.target_NK[3:9], some.target_NK)
    assert torch.equal(whole.valid_NK[3:9], some.valid_NK)


def test_beta_neutral_targets_leave_no_market(panel: Panel, data_config: Config) -> None:
    targets = Targets(panel, data_config(neutral="beta", target="raw", horizons=(5,)))
    plain = Targets(panel, data_config(target="raw", horizons=(5,)))
    stock_N = panel.scored_stocks(150)
    found, before = targets.of(150, stock_N), plain.of(150, stock_N)
    beta_N = panel.beta_R[panel.row_of_TN[150, stock_N].long()]
    assert torch.equal(found.valid_NK[:, 0], before.valid_NK[:, 0] & torch.isfinite(beta_N))
    assert found.valid_NK.any()
    known_N = before.valid_NK[:, 0]
    market = before.return_NK[known_N, 0].double().mean()
    wanted_N = (before.return_NK[:, 0].double() - beta_N.double() * market).float()
    inside_N = found.valid_NK[:, 0]
    torch.testing.assert_close(found.target_NK[inside_N, 0], wanted_N[inside_N])
    assert (found.target_NK[~inside_N] == 0).all()
    np.testing.assert_array_equal(found.return_NK, before.return_NK)
    # Which stocks are asked for changes nothing.
    assert torch.equal(targets.of(150, stock_N[4:9]).target_NK, found.target_NK[4:9])


def test_an_unknown_beta_is_masked(panel: Panel, data_config: Config) -> None:
    beta_R = panel.beta_R.clone()
    stock_N = panel.scored_stocks(150)
    beta_R[panel.row_of_TN[150, stock_N[3]].long()] = torch.nan
    found = Targets(replace(panel, beta_R=beta_R), data_config(neutral="beta")).of(150, stock_N)
    assert not found.valid_NK[3].any()
    nobody = replace(panel, beta_R=torch.full_like(panel.beta_R, torch.nan))
    with pytest.raises(DatasetMismatchError, match=r"data\.neutral = beta"):
        Targets(nobody, data_config(neutral="beta"))


def test_shuffled_targets_are_the_days_own_dealt_anew(panel: Panel, data_config: Config) -> None:
    plain = BatchMaker(panel, data_config())
    shuffled = BatchMaker(panel, data_config(shuffle_targets=True))
    for day in (120, 140):
        own, dealt = plain.make([day]), shuffled.make([day])
        for name in ("return_BNK", "target_BNK"):
            before, after = (getattr(batch, name)[0].nan_to_num(9.0) for batch in (own, dealt))
            assert not torch.equal(before, after)
            # A stock's horizons go together: it gets another one's whole future.
            assert sorted(before.tolist()) == sorted(after.tolist())
        # Dealt by day alone, whoever is drawn.
        drawn = shuffled.make([day], 8, torch.Generator().manual_seed(0))
        place_N = torch.searchsorted(dealt.stock_BN[0], drawn.stock_BN[0])
        assert torch.equal(drawn.target_BNK[0], dealt.target_BNK[0, place_N])


def test_neutral_without_its_data_is_an_error(panel: Panel, data_config: Config) -> None:
    nowhere_R = np.zeros(panel.header.rows, dtype=np.int32)
    index = replace(panel.index, sectors=((nowhere_R, 1), (nowhere_R, 1)))
    blind = replace(panel, index=index)
    with pytest.raises(DatasetMismatchError, match=r"data\.neutral = sector"):
        BatchMaker(blind, data_config(neutral="sector"))
