"""Blocks of consecutive days: rows encoded once give what windows give, and only where they may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from gogooku3.config import AtftGatFanConfig, LossConfig
from gogooku3.data.batch import Batch, BlockRows
from gogooku3.losses import build_loss
from gogooku3.models import Model, ModelShape, build_model
from gogooku3.models.sequences import Sequences

DAYS, STOCKS, NEIGHBOURS = 5, 14, 4
ROWS = {"kind": "streaming"}
FAST = {"kind": "attention"}
SHARING: list[dict[str, Any]] = [
    {"fan": ROWS, "encoder": FAST},
    {"fan": {**ROWS, "window": 9}, "encoder": {**FAST, "heads": 2}},
    {"fan": {"enabled": False}, "encoder": FAST},
]
NOT_SHARING: list[dict[str, Any]] = [
    {},
    {"fan": ROWS},
    {"encoder": FAST},
    {"fan": {"enabled": False}},
]


@pytest.fixture
def block(shape: ModelShape) -> Batch:
    """Rows are absent here and there; each day scores its own stocks, all of them present."""
    g = torch.Generator().manual_seed(0)
    lookback, horizons = shape.lookback, len(shape.horizons)
    length = lookback + DAYS - 1
    present_LS = torch.rand(length, STOCKS, generator=g) > 0.2
    present_LS[:, :5] = True
    present_LS[:9, 6] = False
    mask_BS = present_LS[lookback - 1 :] & (torch.rand(DAYS, STOCKS, generator=g) > 0.2)
    x_LSF = torch.randn(length, STOCKS, len(shape.features), generator=g).cumsum(0)
    rows = BlockRows(
        stock_S=torch.arange(STOCKS),
        sector_S=torch.randint(0, shape.sectors, (STOCKS,), generator=g),
        x_LSF=x_LSF * present_LS[..., None],
        present_LS=present_LS,
        past_return_LS=torch.zeros(length, STOCKS),
    )
    x_BNTF, present_BNT, past_return_BNT = rows.windows(lookback)
    neighbour_BNM = torch.randint(-1, STOCKS, (DAYS, STOCKS, NEIGHBOURS), generator=g)
    scored_BNM = mask_BS.gather(1, neighbour_BNM.clamp(min=0).flatten(1)).view_as(neighbour_BNM)
    neighbour_BNM = neighbour_BNM.masked_fill(~scored_BNM | ~mask_BS[..., None], -1)
    edge_BNME = torch.randn(*neighbour_BNM.shape, shape.edge_features, generator=g)
    target_BNK = torch.randn(DAYS, STOCKS, horizons, generator=g)
    return Batch(
        day_B=torch.arange(DAYS),
        stock_BN=rows.stock_S.where(mask_BS, -1),
        x_BNTF=x_BNTF,
        present_BNT=present_BNT,
        mask_BN=mask_BS,
        sector_BN=rows.sector_S * mask_BS,
        past_return_BNT=past_return_BNT,
        return_BNK=target_BNK,
        target_BNK=target_BNK,
        valid_BNK=mask_BS[..., None].expand(-1, -1, horizons),
        neighbour_BNM=neighbour_BNM,
        edge_BNME=edge_BNME,
        rows=rows,
    )


def _model(shape: ModelShape, changes: dict[str, Any]) -> Model:
    torch.manual_seed(0)
    given = {"hidden_size": 16, "dropout": 0.0, "gat": {"layers": 1, "dropout": 0.0}}
    model = build_model(AtftGatFanConfig.model_validate({**given, **changes}), shape)
    for name, parameter in model.named_parameters():
        if name.endswith("bias_HA"):
            torch.nn.init.normal_(parameter)
    return model


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Sequences]:
    """The sequences that models read."""
    made: list[Sequences] = []
    original: Callable[..., Sequences] = Sequences.of

    def of(batch: Batch, shares_rows: bool) -> Sequences:
        made.append(original(batch, shares_rows))
        return made[-1]

    monkeypatch.setattr(Sequences, "of", of)
    return made


def _gradients(model: Model, batch: Batch) -> dict[str, torch.Tensor]:
    model.zero_grad()
    output = model(batch)
    loss = build_loss(LossConfig(), (1, 5))
    total, _ = loss(output.score_BNK, batch.target_BNK, batch.valid_BNK)
    if output.main_score_BNK is not None:
        total = total + loss.auxiliary(output.main_score_BNK, batch.target_BNK, batch.valid_BNK)
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("changes", SHARING)
def test_shared_rows_give_the_scores_and_gradients_of_windows(
    changes: dict[str, Any], shape: ModelShape, block: Batch, seen: list[Sequences]
) -> None:
    model = _model(shape, changes)
    windows = replace(block, rows=None)
    by_rows, by_windows = model(block).score_BNK, model(windows).score_BNK
    assert [made.days for made in seen] == [DAYS, 1]
    assert seen[0].x_LSF.shape[:2] == (shape.lookback + DAYS - 1, STOCKS)
    torch.testing.assert_close(by_rows, by_windows, atol=1e-5, rtol=0)
    assert by_rows[block.mask_BN].std() > 1e-2
    ours, theirs = _gradients(model, block), _gradients(model, windows)
    assert ours.keys() == theirs.keys() == dict(model.named_parameters()).keys()
    for name, gradient in theirs.items():
        # The two add in another order, and processors differ in how: what that leaves of a small
        # entry is measured by the largest one.
        noise = 1e-5 + 1e-4 * float(gradient.abs().max())
        torch.testing.assert_close(ours[name], gradient, atol=noise, rtol=0, msg=name)


@pytest.mark.parametrize("changes", NOT_SHARING)
def test_what_cannot_share_falls_back_to_windows(
    changes: dict[str, Any], shape: ModelShape, block: Batch, seen: list[Sequences]
) -> None:
    model = _model(shape, changes)
    assert torch.equal(model(block).score_BNK, model(replace(block, rows=None)).score_BNK)
    assert [made.days for made in seen] == [1, 1]


def test_attention_by_age_is_that_of_windows(shape: ModelShape, block: Batch) -> None:
    model = _model(shape, SHARING[0]).eval()
    ours = model(block).reports["attention_A"]
    theirs = model(replace(block, rows=None)).reports["attention_A"]
    torch.testing.assert_close(ours, theirs)


def test_a_block_of_one_day_is_a_day(shape: ModelShape, block: Batch) -> None:
    assert block.rows is not None
    model = _model(shape, SHARING[0]).eval()
    rows = block.rows
    first = replace(
        rows,
        x_LSF=rows.x_LSF[: shape.lookback],
        present_LS=rows.present_LS[: shape.lookback],
        past_return_LS=rows.past_return_LS[: shape.lookback],
    )
    parts = {name: value[:1] for name, value in vars(block).items() if name != "rows"}
    torch.testing.assert_close(
        model(Batch(**parts, rows=first)).score_BNK, model(block).score_BNK[:1], atol=1e-5, rtol=0
    )
