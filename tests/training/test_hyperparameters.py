"""Every declared setting of a run outside model, loss and optimiser is read.

A setting that changes nothing is the predecessor's bug: each is changed alone, and the run must
change, in the way that setting is for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gogooku3.config import (
    BatchConfig,
    DataConfig,
    DateSplit,
    EarlyStoppingConfig,
    EvaluationConfig,
    GraphConfig,
    TrainConfig,
)
from gogooku3.training.checkpoint import read_checkpoint
from gogooku3.training.trainer import TrainResult, train

Changes = dict[str, Any]
Runner = Callable[..., TrainResult]


@pytest.fixture(scope="module")
def run(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., TrainConfig]
) -> Runner:
    def go(**changes: Any) -> TrainResult:
        folder = tmp_path_factory.mktemp("run")
        config = make_config(**{"max_epochs": 1} | changes)
        return train(config, dataset=tiny, out_dir=folder, on_event=lambda event: None)

    return go


@pytest.fixture(scope="module")
def reference(run: Runner) -> TrainResult:
    return run()


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    assert result.last_checkpoint is not None
    return read_checkpoint(result.last_checkpoint)[1]


def are_same(one: TrainResult, other: TrainResult) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(
        mine[name].shape == theirs[name].shape and torch.equal(mine[name], theirs[name])
        for name in mine
    )


def split(calendar: list[Any], **changes: Any) -> Changes:
    given = {"train_end": calendar[55], "valid_end": calendar[80], "embargo_days": 2}
    return {"data": {"split": given | changes}}


def test_the_same_configuration_gives_the_same_weights(run: Runner, reference: TrainResult) -> None:
    assert are_same(run(), reference)


TRAINING: dict[str, Changes] = {
    "seed": {"seed": 2},
    "max_epochs": {"max_epochs": 2},
    "precision": {"precision": "bf16"},
    "data.lookback": {"data": {"lookback": 9}},
    "data.horizons": {"data": {"horizons": (1,)}},
    "data.target": {"data": {"target": "raw"}},
    "data.target=zscore": {"data": {"target": "zscore"}},
    "loss.regime": {"loss": {"regime": {"window": 5, "history": 20, "volatile_joint": 3.0}}},
    "data.neutral": {"data": {"neutral": "sector"}},
    "data.shuffle_targets": {"data": {"shuffle_targets": True}},
    "data.features": {"data": {"features": ("signal", "slow")}},
    "batch.days_per_step": {"batch": {"days_per_step": 5}},
    "batch.block_days": {"batch": {"days_per_step": 8, "block_days": 4}},
    "batch.stocks_per_step": {"batch": {"stocks_per_step": 12}},
    "batch.accumulate": {"batch": {"accumulate": 3}},
}


def test_the_running_mean_is_what_is_evaluated_and_saved(
    run: Runner, make_config: Callable[..., TrainConfig]
) -> None:
    optimizer = make_config().optimizer.model_dump(mode="json")
    # In the first steps the mean is a short one, whatever its decay.
    plain, *averaged = (
        run(max_epochs=2, optimizer=optimizer | {"ema_decay": decay}) for decay in (None, 0.5, 0.99)
    )
    assert not are_same(averaged[0], plain)
    assert not are_same(*averaged)
    for name in ("train/loss", "valid/loss"):
        before, after = (r.epochs[-1].metrics[name] for r in (plain, averaged[1]))
        assert (before == after) is name.startswith("train")


def test_a_plateau_lowers_the_rate_of_later_epochs(run: Runner) -> None:
    result = run(
        max_epochs=4,
        scheduler={"kind": "plateau", "patience": 0, "factor": 0.25},
        early_stopping={"min_delta": 2.5},
    )
    rates = [epoch.metrics["train/lr"] for epoch in result.epochs]
    assert [rate / rates[0] for rate in rates] == pytest.approx([1, 1, 0.25, 0.0625])


GRAPH: Changes = {
    "returns": "residual",
    "window": 20,
    "halflife": 3.0,
    "shrinkage": 0.7,
    "neighbours": 4,
    "sector_neighbours": 1,
    "sector_coarse_neighbours": 2,
    "leader_neighbours": 2,
    "sector_weight": 0.5,
    "rebuild_days": 2,
}


@pytest.mark.parametrize("changes", TRAINING.values(), ids=TRAINING.keys())
def test_a_training_setting_changes_the_weights(
    run: Runner, reference: TrainResult, changes: Changes
) -> None:
    assert not are_same(run(**changes), reference)


@pytest.mark.parametrize("name", GRAPH)
def test_a_setting_of_the_graph_changes_the_weights(
    run: Runner, reference: TrainResult, make_config: Callable[..., TrainConfig], name: str
) -> None:
    model = make_config().model_dump(mode="json")["model"]
    assert not are_same(run(model={"graph": model["graph"] | {name: GRAPH[name]}}), reference)


@pytest.mark.parametrize("name", ["train_start", "train_end", "embargo_days"])
def test_a_split_setting_changes_the_training_days(
    run: Runner, reference: TrainResult, calendar: list[Any], name: str
) -> None:
    value = {"train_start": calendar[10], "train_end": calendar[50], "embargo_days": 6}[name]
    assert not are_same(run(**split(calendar, **{name: value})), reference)


def test_valid_end_changes_the_evaluation_only(
    run: Runner, reference: TrainResult, calendar: list[Any]
) -> None:
    changed = run(**split(calendar, valid_end=calendar[75]))
    assert are_same(changed, reference)
    before, after = (r.epochs[0].metrics["valid/n_days@1"] for r in (reference, changed))
    assert before == 20
    assert after == 15


def test_test_end_changes_the_sealed_part_only(
    run: Runner, reference: TrainResult, calendar: list[Any]
) -> None:
    changed = run(**split(calendar, test_end=calendar[87]))
    parts = []
    for result in (reference, changed):
        assert result.last_checkpoint is not None
        parts.append(read_checkpoint(result.last_checkpoint)[0].split)
    assert parts[0]["test"].days == parts[1]["test"].days + 2
    assert parts[0]["valid"] == parts[1]["valid"]
    assert are_same(changed, reference)


def test_cost_lowers_the_net_sharpe_only(run: Runner, reference: TrainResult) -> None:
    changed = run(evaluation={"cost_bps": 200.0})
    assert are_same(changed, reference)
    for name, is_same in (("valid/sharpe@1", True), ("valid/sharpe_net@1", False)):
        before, after = (r.epochs[0].metrics[name] for r in (reference, changed))
        assert (before == after) is is_same


def test_training_days_are_scored_beside_the_validation_days(
    run: Runner, reference: TrainResult
) -> None:
    changed, none = (run(evaluation={"train_days": count}) for count in (5, 0))
    assert are_same(changed, reference)
    assert are_same(none, reference)
    for name in ("train/rank_ic@1", "valid/psi@5", "valid/psi"):
        before, after = (r.epochs[0].metrics[name] for r in (reference, changed))
        assert before is not None
        assert before != after
        assert name not in none.epochs[0].metrics


def test_early_stopping_settings(run: Runner) -> None:
    for patience in (1, 2):
        stopped = run(max_epochs=6, early_stopping={"patience": patience, "min_delta": 2.5})
        assert len(stopped.epochs) == 1 + patience
    assert len(run(max_epochs=4, early_stopping={"patience": 2}).epochs) == 4
    for metric, choose in (("valid/loss", min), ("valid/icir@5", max)):
        result = run(max_epochs=3, early_stopping={"metric": metric})
        values = [epoch.metrics[metric] for epoch in result.epochs]
        assert result.best_epoch == values.index(choose(values)) + 1  # type: ignore[type-var]


def test_no_setting_is_left_out() -> None:
    """Whoever adds a setting adds it here: what each test above changes is what there is."""
    owned_elsewhere = {"data", "model", "loss", "optimizer", "scheduler", "batch"}
    owned_elsewhere |= {"early_stopping", "evaluation", "compile"}  # the last: test_compiled
    assert set(TrainConfig.model_fields) - owned_elsewhere == {
        "seed",
        "max_epochs",
        "precision",
    }
    named = {name.partition("=")[0] for name in TRAINING}
    assert {f"data.{name}" for name in DataConfig.model_fields} - {"data.split"} <= named
    assert {f"batch.{name}" for name in BatchConfig.model_fields} <= named
    assert set(GraphConfig.model_fields) == set(GRAPH)
    assert set(DateSplit.model_fields) == {
        "kind",
        "train_start",
        "train_end",
        "valid_end",
        "test_end",
        "embargo_days",
    }
    assert set(EarlyStoppingConfig.model_fields) == {"metric", "patience", "min_delta"}
    assert set(EvaluationConfig.model_fields) == {"cost_bps", "train_days"}
