"""`lstm`, `gat_only`, `mlp`, `lightgbm`: what is particular to each; every setting is alive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from gogooku3.config import LightGbmConfig, ModelConfig
from gogooku3.data.batch import Batch
from gogooku3.errors import CheckpointError, ConfigError
from gogooku3.models import Model, ModelShape, build_model
from gogooku3.models import lightgbm as lightgbm_model

CONFIG: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfig)
Make = Callable[..., Batch]
TREES = {"kind": "lightgbm", "min_leaf_rows": 5, "trees": 20, "learning_rate": 0.1}


def build(shape: ModelShape, given: dict[str, Any], seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return build_model(CONFIG.validate_python(given), shape)


def fitted(shape: ModelShape, make_batch: Make, seed: int = 0, **changes: Any) -> Model:
    model = build(shape, TREES | changes, seed)
    model.fit([history(make_batch, first) for first in (0, 10, 20)])
    return model.eval()


def history(make_batch: Make, first: int) -> Batch:
    """Ten consecutive days from `first` on, the first feature telling part of the target."""
    batch = make_batch(days=10, stocks=60, seed=first)
    told_BNK = (batch.target_BNK + batch.x_BNTF[:, :, -1, :1]) * batch.valid_BNK
    return replace(batch, day_B=torch.arange(first, first + 10), target_BNK=told_BNK)


NETWORKS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("lstm", {"hidden_size": 16}, {"hidden_size": 24}),
    ("lstm", {"layers": 1}, {"layers": 2}),
    ("lstm", {"dropout": 0.0}, {"dropout": 0.4}),
    ("lstm", {"head": {"hidden": 8}}, {"head": {"hidden": 9}}),
    ("gat_only", {"hidden_size": 16}, {"hidden_size": 24}),
    ("gat_only", {"dropout": 0.0}, {"dropout": 0.4}),
    ("gat_only", {"gat": {"layers": 1}}, {"gat": {"layers": 2}}),
    ("gat_only", {"gat": {"dropout": 0.0}}, {"gat": {"dropout": 0.4}}),
    ("gat_only", {"head": {"hidden": 8}}, {"head": {"hidden": 9}}),
    ("mlp", {"hidden_size": 16}, {"hidden_size": 24}),
    ("mlp", {"layers": 1}, {"layers": 2}),
    ("mlp", {"dropout": 0.0}, {"dropout": 0.4}),
    ("mlp", {"head": {"hidden": 8}}, {"head": {"hidden": 9}}),
]


@pytest.mark.parametrize(("kind", "one", "other"), NETWORKS)
def test_every_setting_of_a_network_is_alive(
    kind: str, one: dict[str, Any], other: dict[str, Any], shape: ModelShape, make_batch: Make
) -> None:
    batch, scores = make_batch(), []
    for changes in (one, one, other):
        model = build(shape, {"kind": kind, "hidden_size": 16} | changes).train()
        torch.manual_seed(1)
        scores.append(model(batch).score_BNK)
    assert torch.equal(scores[0], scores[1])
    assert (scores[2] - scores[0]).abs().max() > 1e-4


def test_lstm_reads_the_whole_look_back_and_others_one_day(
    shape: ModelShape, make_batch: Make
) -> None:
    batch = make_batch()
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[:, :, -5] += 1.0
    earlier = replace(batch, x_BNTF=x_BNTF)
    for kind, reads in (("lstm", True), ("gat_only", False), ("mlp", False)):
        model = build(shape, {"kind": kind, "hidden_size": 16}).eval()
        change = (model(earlier).score_BNK - model(batch).score_BNK).abs().max()
        assert change > 1e-4 if reads else change == 0, kind


def test_mlp_reads_the_scored_day_and_nothing_of_others(
    shape: ModelShape, make_batch: Make
) -> None:
    batch = make_batch()
    model = build(shape, {"kind": "mlp", "hidden_size": 16}).eval()
    before = model(batch).score_BNK
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[0, 0, -1] += 1.0
    change_BN = (model(replace(batch, x_BNTF=x_BNTF)).score_BNK - before).abs().amax(-1)
    assert change_BN[0, 0] > 1e-4
    change_BN[0, 0] = 0.0
    assert change_BN.max() < 1e-6  # the product's blocking may differ


def test_gat_only_lives_by_its_edges(shape: ModelShape, make_batch: Make) -> None:
    batch = make_batch()
    assert batch.neighbour_BNM is not None
    bare = replace(batch, neighbour_BNM=torch.full_like(batch.neighbour_BNM, -1))
    model = build(shape, {"kind": "gat_only", "hidden_size": 16}).eval()
    assert (model(batch).score_BNK - model(bare).score_BNK).abs().max() > 1e-3
    with pytest.raises(ValueError, match="no graph"):
        model(replace(batch, neighbour_BNM=None))
    with pytest.raises(ConfigError, match="edges"):
        build(replace(shape, edge_features=0), {"kind": "gat_only"})
    with pytest.raises(ValidationError, match="at least one GAT layer"):
        CONFIG.validate_python({"kind": "gat_only", "gat": {"layers": 0}})


TREE_SETTINGS: dict[str, Any] = {
    "trees": 10,
    "learning_rate": 0.3,
    "leaves": 4,
    "min_leaf_rows": 200,
    "feature_share": 1.0,
    "row_share": 1.0,
    "l2": 100.0,
    "max_bins": 4,
    "stop_after": 2,
    "held_out": 0.4,
}


@pytest.mark.parametrize("name", TREE_SETTINGS)
def test_every_setting_of_the_trees_is_alive(
    name: str, shape: ModelShape, make_batch: Make
) -> None:
    base = {"stop_after": 3} if name == "held_out" else {}
    batch = make_batch(seed=99)
    before = fitted(shape, make_batch, **base)(batch).score_BNK
    after = fitted(shape, make_batch, **base, **{name: TREE_SETTINGS[name]})(batch).score_BNK
    assert (after - before).abs().max() > 1e-5
    assert set(LightGbmConfig.model_fields) == set(TREE_SETTINGS) | {"kind"}


def test_trees_find_the_rule_and_repeat_it_with_any_threads(
    shape: ModelShape, make_batch: Make
) -> None:
    batch = history(make_batch, 50)
    score = fitted(shape, make_batch)(batch).score_BNK
    seen = batch.valid_BNK[..., 0]
    found = np.corrcoef(score[..., 0][seen], batch.x_BNTF[:, :, -1, 0][seen])[0, 1]
    assert found > 0.7
    torch.set_num_threads(2)  # the fixture of this folder sets it back
    assert torch.equal(fitted(shape, make_batch)(batch).score_BNK, score)
    assert not torch.equal(fitted(shape, make_batch, seed=1)(batch).score_BNK, score)


def test_trees_learn_from_known_targets_only(shape: ModelShape, make_batch: Make) -> None:
    def fit(poison: float) -> torch.Tensor:
        days = history(make_batch, 0)
        bad_BNK = days.target_BNK.masked_fill(~days.valid_BNK, poison)
        model = build(shape, TREES)
        model.fit([replace(days, target_BNK=bad_BNK)])
        score: torch.Tensor = model(make_batch(seed=99)).score_BNK
        return score

    assert torch.equal(fit(0.0), fit(1e6))


def test_stopping_early_looks_at_held_out_days_without_overlap(
    shape: ModelShape, make_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows in use: training days whose label ends before the first held-out day."""
    seen: list[tuple[int, int]] = []
    model = build(shape, TREES | {"stop_after": 2, "held_out": 0.2})
    days = [history(make_batch, first) for first in (0, 10, 20)]
    grown = model._lightgbm.train  # type: ignore[union-attr, operator]

    def spy(settings: Any, data: Any, **given: Any) -> Any:
        seen.append((data.num_data(), given["valid_sets"][0].num_data()))
        return grown(settings, data, **given)

    monkeypatch.setattr(model._lightgbm, "train", spy)
    model.fit(days)
    for k, horizon in enumerate(shape.horizons):
        day = torch.cat([batch.day_B for batch in days])
        rows = torch.cat([(batch.valid_BNK[..., k] & batch.mask_BN).sum(1) for batch in days])
        assert seen[k] == (int(rows[day + horizon < 24].sum()), int(rows[day >= 24].sum()))


def test_a_fit_can_be_ended_between_trees(shape: ModelShape, make_batch: Make) -> None:
    asked = iter(range(100))

    class EndedError(Exception):
        pass

    def check() -> None:
        if next(asked) == 5:
            raise EndedError

    model = build(shape, TREES)
    with pytest.raises(EndedError):
        model.fit([history(make_batch, 0)], check)
    assert (model(make_batch()).score_BNK == 0).all()


def test_damaged_trees_are_refused(shape: ModelShape, make_batch: Make) -> None:
    model = build(shape, TREES)
    fewer = replace(shape, features=shape.features[:5])
    small = replace(make_batch(days=10), x_BNTF=make_batch(days=10).x_BNTF[..., :5])
    other = build(fewer, TREES)
    other.fit([small])
    with pytest.raises(CheckpointError, match="5"):
        model.load_state_dict(other.state_dict())
    for text in (b"{", b'["tree\\nnonsense"]', b"[3]"):
        state = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        with pytest.raises(CheckpointError, match="trees"):
            model.load_state_dict({"_extra_state": state})


def test_without_the_package_it_says_what_to_install(
    shape: ModelShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(lightgbm_model.importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"gogooku3\[lightgbm\]"):
        build(shape, TREES)
