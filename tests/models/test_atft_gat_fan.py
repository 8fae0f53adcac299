"""ATFT-GAT-FAN: its graph, its FAN term, its size, and that every hyper-parameter is alive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import mean
from typing import Any

import pytest
import torch

from gogooku3.config import (
    AtftGatFanConfig,
    LossConfig,
    LossTerm,
    QuantileConfig,
    StudentTConfig,
)
from gogooku3.data.batch import Batch
from gogooku3.errors import ConfigError
from gogooku3.losses import build_loss
from gogooku3.models import Model, ModelShape, build_model

Make = Callable[..., Batch]


def _model(shape: ModelShape, **changes: Any) -> Model:
    torch.manual_seed(0)
    config = AtftGatFanConfig.model_validate({"hidden_size": 16, "dropout": 0.0, **changes})
    return build_model(config, shape)


def _scores(shape: ModelShape, batch: Batch, *, training: bool, **changes: Any) -> torch.Tensor:
    model = _model(shape, **changes).train(training)
    torch.manual_seed(1)
    scores: torch.Tensor = model(batch).score_BNK
    return scores


# The graph's own settings (`graph.*`) act where edges are made; `fan.aux_weight` in the trainer.
FAST = {"kind": "attention"}
ROWS = {"kind": "streaming"}
GROUPED = {"kind": "grouped"}
DROP = {"dropout": 0.3}
QUIET = {"layers": 2, "dropout": 0.0}
ALIVE: list[tuple[bool, dict[str, Any], dict[str, Any]]] = [
    (False, {"hidden_size": 16}, {"hidden_size": 32}),
    (False, {"fan": {"enabled": True}}, {"fan": {"enabled": False}}),
    (False, {"fan": {"top_k": 2}}, {"fan": {"top_k": 3}}),
    (False, {"selection": {"rank": 8}}, {"selection": {"rank": 4}}),
    (False, {"selection": {"kind": "low_rank"}}, {"selection": {"kind": "grouped"}}),
    (True, {"selection": GROUPED, "gat": QUIET}, {"selection": GROUPED, "gat": QUIET, **DROP}),
    (False, {"encoder": {"heads": 4}}, {"encoder": {"heads": 2}}),
    (False, {"encoder": {"lstm_layers": 1}}, {"encoder": {"lstm_layers": 2}}),
    (False, {"encoder": {"kind": "lstm_attention"}}, {"encoder": {"kind": "attention"}}),
    (False, {"encoder": FAST}, {"encoder": {**FAST, "heads": 2}}),
    (False, {"fan": {"kind": "window"}}, {"fan": {"kind": "streaming"}}),
    (False, {"fan": ROWS}, {"fan": {**ROWS, "enabled": False}}),
    (False, {"fan": ROWS}, {"fan": {**ROWS, "top_k": 3}}),
    (False, {"fan": ROWS}, {"fan": {**ROWS, "window": 8}}),
    (False, {"gat": {"layers": 1}}, {"gat": {"layers": 2}}),
    (False, {"gat": {"heads": [4, 4]}}, {"gat": {"heads": [2, 4]}}),
    (False, {"gat": {"concat": [True, True]}}, {"gat": {"concat": [True, False]}}),
    (False, {"gat": {"temperature": 0.6}}, {"gat": {"temperature": 1.9}}),
    (False, {"head": {"hidden": 8}}, {"head": {"hidden": 9}}),
    (False, {"head": {"kind": "score"}}, {"head": {"kind": "student_t"}}),
    (False, {"head": {"kind": "student_t"}}, {"head": {"kind": "student_t", "hidden": 9}}),
    (False, {"head": {"kind": "quantile"}}, {"head": {"kind": "quantile", "hidden": 9}}),
    (False, {"head": {"kind": "quantile"}}, {"head": {"kind": "quantile", "levels": [0.5, 0.9]}}),
    (True, {"gat": QUIET}, {"gat": QUIET, "dropout": 0.3}),
    (True, {"gat": QUIET}, {"gat": {**QUIET, "dropout": 0.3}}),
    (True, {"gat": QUIET}, {"gat": {**QUIET, "edge_dropout": 0.4}}),
    (True, {"gat": QUIET}, {"gat": {**QUIET, "stochastic_depth": 0.9}}),
]


@pytest.mark.parametrize(("training", "one", "other"), ALIVE)
def test_every_hyper_parameter_is_alive(
    training: bool,
    one: dict[str, Any],
    other: dict[str, Any],
    shape: ModelShape,
    make_batch: Make,
) -> None:
    batch = make_batch()
    same = [_scores(shape, batch, training=training, **one) for _ in range(2)]
    assert torch.equal(*same)
    changed = _scores(shape, batch, training=training, **other)
    assert (changed - same[0]).abs().max() > 1e-4


@pytest.mark.parametrize("layers", range(9))
def test_any_number_of_graph_layers(layers: int, shape: ModelShape, make_batch: Make) -> None:
    batch = make_batch()
    model = _model(shape, gat={"layers": layers})
    assert (model.graph is not None) == (layers > 0)
    score_BNK = model(batch).score_BNK
    score_BNK.square().sum().backward()
    assert torch.isfinite(score_BNK).all()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_removing_edges_changes_scores(shape: ModelShape, make_batch: Make) -> None:
    batch = make_batch()
    assert batch.neighbour_BNM is not None
    bare = replace(batch, neighbour_BNM=torch.full_like(batch.neighbour_BNM, -1))
    with_layers = _model(shape).eval()
    assert (with_layers(batch).score_BNK - with_layers(bare).score_BNK).abs().max() > 1e-3
    without = _model(shape, gat={"layers": 0}).eval()
    assert torch.equal(without(batch).score_BNK, without(bare).score_BNK)


def test_pyg_scores_as_our_own_graph_attention(shape: ModelShape, make_batch: Make) -> None:
    """The setting changes what computes, not what is computed."""
    batch = make_batch()
    models = [_model(shape, gat={"impl": impl}).eval() for impl in ("fixed_k", "pyg")]
    assert models[0].graph.layers[0].attend is not models[1].graph.layers[0].attend
    scores = [model(batch).score_BNK for model in models]
    torch.testing.assert_close(*scores, atol=1e-5, rtol=1e-4)


def test_a_neighbour_reaches_only_those_it_has_an_edge_to(
    shape: ModelShape, make_batch: Make
) -> None:
    batch = make_batch(days=1)
    assert batch.neighbour_BNM is not None
    model = _model(shape, gat={"layers": 1}).eval()
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[0, 5] += 1.0
    changed = model(replace(batch, x_BNTF=x_BNTF)).score_BNK - model(batch).score_BNK
    reached_N = changed[0].abs().amax(-1) > 1e-6
    linked_N = (batch.neighbour_BNM[0] == 5).any(-1)
    linked_N[5] = True
    assert reached_N.tolist() == linked_N.tolist()
    assert 1 < int(linked_N.sum()) < len(linked_N)


def test_a_batch_without_a_graph_is_an_error(shape: ModelShape, make_batch: Make) -> None:
    batch = replace(make_batch(), neighbour_BNM=None, edge_BNME=None)
    with pytest.raises(ValueError, match="no graph"):
        _model(shape)(batch)
    assert torch.isfinite(_model(shape, gat={"layers": 0})(batch).score_BNK).all()


def test_graph_layers_need_edge_features(shape: ModelShape) -> None:
    with pytest.raises(ConfigError, match="edges"):
        _model(replace(shape, edge_features=0))
    assert _model(replace(shape, edge_features=0), gat={"layers": 0}).graph is None


def test_the_sector_matters(shape: ModelShape, make_batch: Make) -> None:
    batch = make_batch()
    moved = replace(batch, sector_BN=(batch.sector_BN + 1) % shape.sectors)
    model = _model(shape, gat={"layers": 0}).eval()
    change = (model(batch).score_BNK - model(moved).score_BNK).abs().amax(-1)
    assert (change[batch.mask_BN] > 1e-4).all()


def test_fans_main_part_has_its_own_score(shape: ModelShape, make_batch: Make) -> None:
    batch = make_batch()
    model = _model(shape).eval()
    output = model(batch)
    assert output.main_score_BNK is not None
    assert (output.main_score_BNK[~batch.mask_BN] == 0).all()
    assert output.main_score_BNK[batch.mask_BN].std() > 1e-3
    model.heads.leave_KW.data.zero_()
    model.heads.bias_K.data.zero_()
    torch.testing.assert_close(model(batch).score_BNK, output.main_score_BNK)
    assert _model(shape, fan={"enabled": False})(batch).main_score_BNK is None


@pytest.mark.parametrize("kind", ["quantile", "student_t"])
def test_a_distribution_is_learned_around_the_score(
    kind: str, shape: ModelShape, make_batch: Make
) -> None:
    batch, model = make_batch(), _model(shape, head={"kind": kind})
    term: LossTerm = StudentTConfig()
    if kind == "quantile":
        term = QuantileConfig(levels=(0.05, 0.25, 0.5, 0.75, 0.95))
    loss = build_loss(LossConfig(terms=(term,)), (1, 5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    values = []
    for _ in range(30):
        output = model(batch)
        total, parts = loss(
            output.score_BNK,
            batch.target_BNK,
            batch.valid_BNK,
            distribution_BNKP=output.distribution_BNKP,
        )
        optimizer.zero_grad()
        total.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
        values.append(parts[kind].item())
    assert values[-1] < values[0] - 0.05


def test_the_auxiliary_loss_reaches_the_main_head_alone(
    shape: ModelShape, make_batch: Make
) -> None:
    batch, model = make_batch(), _model(shape)
    output = model(batch)
    assert output.main_score_BNK is not None
    loss = build_loss(LossConfig(), (1, 5))
    loss.auxiliary(output.main_score_BNK, batch.target_BNK, batch.valid_BNK).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {name for name, _ in model.named_parameters() if "main_head" in name}
    assert reached


def test_selection_weights_are_reported_over_present_days(
    shape: ModelShape, make_batch: Make
) -> None:
    batch = make_batch()
    model = _model(shape).eval()
    weight_F = model(batch).reports["selection_F"]
    assert not weight_F.requires_grad
    assert weight_F.shape == (6,)
    assert weight_F.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert weight_F.std() > 1e-3
    more = replace(
        batch,
        x_BNTF=torch.cat((batch.x_BNTF, torch.zeros_like(batch.x_BNTF)), dim=1),
        present_BNT=torch.cat((batch.present_BNT, torch.zeros_like(batch.present_BNT)), dim=1),
        mask_BN=torch.cat((batch.mask_BN, torch.zeros_like(batch.mask_BN)), dim=1),
        sector_BN=torch.cat((batch.sector_BN, torch.zeros_like(batch.sector_BN)), dim=1),
    )
    without_graph = _model(shape, gat={"layers": 0}).eval()
    assert not without_graph.train()(batch).reports
    without_graph.eval()
    torch.testing.assert_close(
        without_graph(more).reports["selection_F"], without_graph(batch).reports["selection_F"]
    )


@pytest.mark.parametrize("encoder", ["lstm_attention", "attention"])
@pytest.mark.parametrize("fan", ["window", "streaming"])
def test_attention_by_age_is_reported_over_scored_stocks(
    fan: str, encoder: str, shape: ModelShape, make_batch: Make
) -> None:
    model = _model(shape, fan={"kind": fan}, encoder={"kind": encoder}).eval()
    weight_A = model(make_batch()).reports["attention_A"]
    assert not weight_A.requires_grad
    assert weight_A.shape == (12 if fan == "window" else 7,)
    assert weight_A.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert (weight_A > 0).all()


def test_bf16_autocast_trains_and_scores_in_fp32(shape: ModelShape, make_batch: Make) -> None:
    batch = make_batch()
    model = _model(shape)
    torch.manual_seed(1)
    exact = model(batch).score_BNK
    torch.manual_seed(1)  # the same dropout of edges
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
        total, _ = build_loss(LossConfig(), (1, 5))(
            output.score_BNK, batch.target_BNK, batch.valid_BNK
        )
    total.backward()
    assert output.score_BNK.dtype == torch.float32
    assert not torch.equal(output.score_BNK, exact)
    torch.testing.assert_close(output.score_BNK, exact, atol=0.1, rtol=0.1)
    grads = [parameter.grad for parameter in model.parameters()]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)


def test_a_large_model_stays_below_ten_million_parameters() -> None:
    shape = ModelShape(tuple(f"f{i}" for i in range(112)), 60, (1, 5, 10, 20), 34, 4)
    model = build_model(AtftGatFanConfig(hidden_size=256), shape)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 1_000_000 < count < 10_000_000


def test_it_learns_a_planted_rule(shape: ModelShape, make_batch: Make) -> None:
    """Targets made of the last day's features and of the neighbours' are found on new days."""

    def planted(seed: int) -> Batch:
        batch = make_batch(days=2, stocks=64, padding=0, seed=seed)
        own_BN = batch.x_BNTF[:, :, -1, 0]
        assert batch.neighbour_BNM is not None
        linked_BNM = batch.neighbour_BNM >= 0
        days_B11 = torch.arange(2)[:, None, None]
        theirs_BNM = batch.x_BNTF[days_B11, batch.neighbour_BNM.clamp(min=0), -1, 1]
        peers_BN = (theirs_BNM * linked_BNM).sum(-1) / linked_BNM.sum(-1).clamp(min=1)
        target_BN1 = (own_BN + 2.0 * peers_BN)[..., None]
        everything = torch.ones_like(batch.valid_BNK)
        return replace(batch, target_BNK=target_BN1.expand(-1, -1, 2), valid_BNK=everything)

    loss = build_loss(LossConfig(), (1, 5))
    model = _model(shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(150):
        batch = planted(step)
        total, _ = loss(model(batch).score_BNK, batch.target_BNK, batch.valid_BNK)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    model.eval()
    ic = {"edges": [], "no edges": []}
    for batch in (planted(seed) for seed in range(1000, 1008)):
        assert batch.neighbour_BNM is not None
        bare = replace(batch, neighbour_BNM=torch.full_like(batch.neighbour_BNM, -1))
        for name, seen in (("edges", batch), ("no edges", bare)):
            with torch.no_grad():
                parts = loss(model(seen).score_BNK, batch.target_BNK, batch.valid_BNK)[1]
            ic[name].append(1.0 - parts["ic"].item())
    # Its own feature alone explains an IC of 0.66 at the most.
    assert mean(ic["edges"]) > 0.72
    assert mean(ic["no edges"]) < 0.67
