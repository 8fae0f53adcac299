"""What every registered model must do, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from gogooku3.config import BY_GRADIENT, LossConfig, ModelConfig
from gogooku3.data.batch import Batch
from gogooku3.losses import build_loss
from gogooku3.models import MODELS, Model, ModelShape, build_model

CONFIG: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfig)
Make = Callable[..., Batch]
SMALL: dict[str, dict[str, Any]] = {
    "atft_gat_fan": {"hidden_size": 16},
    "atft_gat_fan by rows": {
        "hidden_size": 16,
        "fan": {"kind": "streaming"},
        "encoder": {"kind": "attention"},
    },
    "atft_gat_fan grouped": {"hidden_size": 16, "selection": {"kind": "grouped"}},
    "gat_only": {"hidden_size": 16},
    "mlp": {"hidden_size": 16},
    "lstm": {"hidden_size": 16},
    "lightgbm": {"min_leaf_rows": 2, "learning_rate": 0.1},
}
"""Kinds, some in another form: what follows the first word of a name is for the reader."""
ALL = pytest.mark.parametrize("kind", sorted(MODELS.keys() | SMALL.keys()))


def config_of(kind: str) -> ModelConfig:
    return CONFIG.validate_python({"kind": kind.partition(" ")[0]} | SMALL.get(kind, {}))


@pytest.fixture
def make_model(shape: ModelShape, make_batch: Make) -> Callable[[str], Model]:
    """A model of a kind in eval mode, after one step of learning."""

    def make(kind: str) -> Model:
        torch.manual_seed(0)
        model = build_model(config_of(kind), shape)
        if model.learns == "fit":
            model.fit([make_batch(days=8, stocks=40, seed=seed) for seed in (7, 8)])
        return model.eval()

    return make


def _spread(model: Model, one: Batch, other: Batch) -> torch.Tensor:
    """|change of score| per stock, the largest over horizons."""
    with torch.no_grad():
        change = (model(one).score_BNK - model(other).score_BNK).abs()
    return change.amax(-1)


@ALL
def test_scores_have_the_shape_and_are_finite(
    kind: str, make_model: Callable[[str], Model], make_batch: Make
) -> None:
    batch = make_batch()
    output = make_model(kind)(batch)
    assert output.score_BNK.shape == batch.valid_BNK.shape
    assert output.score_BNK.dtype == torch.float32
    assert torch.isfinite(output.score_BNK).all()
    assert (output.score_BNK[~batch.mask_BN] == 0).all()
    assert output.score_BNK[batch.mask_BN].std(0).min() > 1e-4


@ALL
def test_the_score_depends_on_the_last_day(
    kind: str, make_model: Callable[[str], Model], make_batch: Make
) -> None:
    batch, model = make_batch(), make_model(kind)
    x_BNTF, past_return_BNT = batch.x_BNTF.clone(), batch.past_return_BNT.clone()
    x_BNTF[:, :, -1] += 0.5
    past_return_BNT[..., -1] += 0.01
    changed = replace(batch, x_BNTF=x_BNTF, past_return_BNT=past_return_BNT)
    assert (_spread(model, batch, changed)[batch.mask_BN] > 1e-5).all()


@ALL
def test_absent_days_and_padding_do_not_leak(
    kind: str, make_model: Callable[[str], Model], make_batch: Make
) -> None:
    batch, model = make_batch(), make_model(kind)
    absent_BNT = ~batch.present_BNT
    noisy = replace(
        batch,
        x_BNTF=batch.x_BNTF.masked_fill(absent_BNT[..., None], 1e3),
        past_return_BNT=batch.past_return_BNT.masked_fill(absent_BNT, 1e3),
        sector_BN=batch.sector_BN.masked_fill(~batch.mask_BN, 3),
    )
    assert torch.equal(model(noisy).score_BNK, model(batch).score_BNK)


@ALL
def test_a_permutation_of_stocks_permutes_scores(
    kind: str,
    make_model: Callable[[str], Model],
    make_batch: Make,
    permute: Callable[[Batch, torch.Tensor], Batch],
) -> None:
    batch, model = make_batch(), make_model(kind)
    order_N = torch.randperm(batch.mask_BN.shape[1], generator=torch.Generator().manual_seed(3))
    scores = model(permute(batch, order_N)).score_BNK
    torch.testing.assert_close(scores, model(batch).score_BNK[:, order_N], atol=1e-5, rtol=1e-4)


@ALL
def test_batch_mates_do_not_matter(
    kind: str, make_model: Callable[[str], Model], make_batch: Make
) -> None:
    """Other days never; other stocks only when they are reached along edges."""
    batch, model = make_batch(), make_model(kind)
    assert batch.neighbour_BNM is not None
    group_N = torch.arange(batch.mask_BN.shape[1]) % 2
    neighbour_BNM = batch.neighbour_BNM
    same_BNM = group_N[neighbour_BNM.clamp(min=0)] == group_N[None, :, None]
    batch = replace(batch, neighbour_BNM=neighbour_BNM.masked_fill(~same_BNM, -1))
    x_BNTF, past_return_BNT = batch.x_BNTF.clone(), batch.past_return_BNT.clone()
    x_BNTF[1] += 1.0
    x_BNTF[0, group_N == 1] -= 1.0
    past_return_BNT[1] += 0.01
    past_return_BNT[0, group_N == 1] -= 0.01
    changed = replace(batch, x_BNTF=x_BNTF, past_return_BNT=past_return_BNT)
    spread_BN = _spread(model, batch, changed)
    assert (spread_BN[0, group_N == 0] < 1e-5).all()
    touched_BN = batch.mask_BN.clone()
    touched_BN[0, group_N == 0] = False
    assert (spread_BN[touched_BN] > 1e-5).all()


@ALL
def test_a_day_alone_scores_as_in_a_batch(
    kind: str, make_model: Callable[[str], Model], make_batch: Make
) -> None:
    batch, model = make_batch(), make_model(kind)
    parts = {name: value[1:] for name, value in vars(batch).items() if name != "rows"}
    alone = Batch(**parts)
    together = model(batch).score_BNK[1:]
    torch.testing.assert_close(model(alone).score_BNK, together, atol=1e-5, rtol=1e-4)


@ALL
def test_evaluation_is_deterministic(
    kind: str, make_model: Callable[[str], Model], make_batch: Make
) -> None:
    batch, model = make_batch(), make_model(kind)
    assert torch.equal(model(batch).score_BNK, model(batch).score_BNK)


@ALL
def test_a_saved_model_scores_the_same_bit_for_bit(
    kind: str, make_model: Callable[[str], Model], make_batch: Make, shape: ModelShape
) -> None:
    batch, model = make_batch(), make_model(kind)
    torch.manual_seed(99)
    other = build_model(config_of(kind), shape).eval()
    if model.learns != "nothing":
        assert not torch.equal(other(batch).score_BNK, model(batch).score_BNK)
    other.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    assert torch.equal(other(batch).score_BNK, model(batch).score_BNK)


@ALL
def test_the_gradient_reaches_every_parameter(
    kind: str, make_model: Callable[[str], Model], make_batch: Make
) -> None:
    model = make_model(kind).train()
    if model.learns != "gradient":
        assert not list(model.parameters())
        return
    batch = make_batch()
    loss = build_loss(LossConfig(), (1, 5))
    total, _ = loss(model(batch).score_BNK, batch.target_BNK, batch.valid_BNK)
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 1e-9, name


@ALL
def test_its_configuration_knows_how_it_learns(
    kind: str, make_model: Callable[[str], Model]
) -> None:
    assert isinstance(config_of(kind), BY_GRADIENT) == (make_model(kind).learns == "gradient")


@ALL
def test_models_that_do_not_fit_say_so(
    kind: str, make_model: Callable[[str], Model], make_batch: Make
) -> None:
    model = make_model(kind)
    if model.learns != "fit":
        with pytest.raises(TypeError, match=model.learns):
            model.fit([make_batch()])
