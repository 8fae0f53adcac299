"""A sweep is checked against the real configuration before any trial."""

from __future__ import annotations

from typing import Any

import pytest

from gogooku3.config import CheckedSweep, Problem, TrainConfig, check_sweep

BASE: dict[str, Any] = {
    "max_epochs": 10,
    "data": {"split": {"train_end": "2018-12-31", "valid_end": "2019-12-31"}},
}
PRODUCTION: dict[str, Any] = {
    "optimizer.kind": {"choice": ["adamw", "adabelief"]},
    "batch.stocks_per_step": {"choice": [2048, 4096, 8192]},
    "model.hidden_size": {"choice": [256, 384, 512]},
    "model.gat.dropout": {"float": [0.1, 0.4]},
    "model.gat.layers": {"int": [2, 4]},
    "loss.terms.soft_spearman.weight": {"choice": [0.0, 0.05, 0.1, 0.2]},
    "optimizer.lr": {"float": [1e-5, 1e-3], "log": True},
    "scheduler.t_0": {"int": [2, 6], "when": {"scheduler.kind": "cosine_restarts"}},
}
RESTARTS = {**BASE, "scheduler": {"kind": "cosine_restarts"}}


def sweep(space: dict[str, Any], config: dict[str, Any] = BASE, **more: Any) -> dict[str, Any]:
    return {"dataset": "jp", "config": config, "search_space": space, **more}


def nothing_wrong(config: TrainConfig) -> list[Problem]:
    return []


def check(given: dict[str, Any]) -> tuple[CheckedSweep | None, list[Problem]]:
    return check_sweep(given, nothing_wrong)


def valid(given: dict[str, Any]) -> CheckedSweep:
    checked, problems = check(given)
    assert problems == []
    assert checked is not None
    return checked


def problem(given: dict[str, Any]) -> Problem:
    checked, problems = check(given)
    assert checked is None
    assert len(problems) == 1, problems
    return problems[0]


def test_production_sweep_is_valid() -> None:
    checked = valid(sweep(PRODUCTION, RESTARTS, max_parallel=2))
    assert len(checked.space.parameters) == 8
    # Without a word said, the objective chooses each trial's best epoch.
    assert checked.space.base["early_stopping"] == {"metric": "valid/rank_ic"}


def test_every_number_of_gat_layers_is_valid_without_lists() -> None:
    checked = valid(sweep({"model.gat.layers": {"int": [0, 8]}}))
    for layers in range(9):
        config = TrainConfig.model_validate(checked.space.config({"model.gat.layers": layers}))
        assert len(config.model.gat.heads or ()) == layers


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("optimiser.lr", "optimizer.lr"),
        ("model.hiden_size", "model.hidden_size"),
        ("gat.layers", "model.gat.layers"),
        ("loss.terms.soft_spearmann.weight", "loss.terms.soft_spearman.weight"),
        ("lr", "optimizer.lr"),
    ],
)
def test_unknown_path_names_the_nearest(path: str, meant: str) -> None:
    found = problem(sweep({path: {"float": [0.1, 0.2]}}))
    assert found.code == "unknown-path"
    assert found.pointer == f"/search_space/{path}"
    assert f"did you mean {meant!r}?" in found.message


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"model.gat.dropout": {"float": [0.1, 1.4]}}, "model.gat.dropout = 1.4"),
        ({"model.hidden_size": {"choice": [64, 30]}}, "model.hidden_size = 30"),
        ({"model.gat.layers": {"int": [2, 17]}}, "model.gat.layers = 17"),
        ({"optimizer.kind": {"choice": ["adamw", "adam"]}}, 'optimizer.kind = "adam"'),
        ({"data.lookback": {"choice": [2, 60]}}, "data.lookback = 2"),
        ({"optimizer.lr": {"float": [0.0, 0.1]}}, "optimizer.lr = 0.0"),
        ({"max_epochs": {"choice": [3, "many"]}}, 'max_epochs = "many"'),
    ],
)
def test_value_that_the_configuration_refuses_is_named(space: dict[str, Any], told: str) -> None:
    found = problem(sweep(space))
    assert found.code == "value-refused"
    assert found.pointer == f"/search_space/{next(iter(space))}"
    assert told in found.message


def test_values_that_are_refused_only_together_are_named_together() -> None:
    space = {
        "model.hidden_size": {"choice": [64, 96]},
        "model.encoder.heads": {"choice": [4, 64]},
        "optimizer.lr": {"float": [1e-4, 1e-3]},
    }
    found = problem(sweep(space))
    assert found.code == "value-refused"
    assert "model.hidden_size = 96" in found.message
    assert "model.encoder.heads = 64" in found.message
    assert "optimizer.lr" not in found.message


def test_fault_deep_in_a_large_space_is_found() -> None:
    space = {
        f"{path}": {"float": [0.0, 0.5]}
        for path in ("model.dropout", "model.gat.edge_dropout", "model.gat.stochastic_depth")
    } | {
        "data.lookback": {"int": [3, 60]},
        "model.fan.top_k": {"int": [1, 8]},
        "optimizer.weight_decay": {"float": [0.0, 0.1]},
    }
    found = problem(sweep(space))
    assert "data.lookback = 3" in found.message


def test_gpus_without_days_are_told_of_the_sweep_or_of_the_value() -> None:
    asked = {"resources": {"gpus": 4}}
    found = problem(sweep({"optimizer.lr": {"float": [1e-4, 1e-3]}}, **asked))
    assert (found.pointer, found.code) == ("/resources/gpus", "gpus-without-days")
    space = {"batch.accumulate": {"choice": [2, 4, 8]}}
    found = problem(sweep(space, **asked))
    assert found.pointer == "/search_space/batch.accumulate"
    assert "accumulate = 2: 4 GPUs" in found.message
    space = {"batch.accumulate": {"choice": [4, 8]}}
    valid(sweep(space, **asked))


def test_values_that_do_not_fit_the_dataset_are_named() -> None:
    def fits(config: TrainConfig) -> list[Problem]:
        short = config.data.lookback > 100
        return [Problem("/data/lookback", "dataset-short", "the dataset is short")] * short

    _, problems = check_sweep(sweep({"data.lookback": {"choice": [20, 200]}}), fits)
    assert [p.message for p in problems] == ["data.lookback = 200: the dataset is short"]


@pytest.mark.parametrize(
    ("space", "config", "condition"),
    [
        ({"scheduler.t_0": {"int": [2, 6]}}, BASE, "scheduler.kind is 'cosine_restarts'"),
        (
            {"model.gat.dropout": {"float": [0.1, 0.4]}},
            {**BASE, "model": {"gat": {"layers": 0}}},
            "model.gat.layers is not 0",
        ),
        (
            {"model.fan.top_k": {"int": [1, 3]}},
            {**BASE, "model": {"fan": {"enabled": False}}},
            "model.fan.enabled is True",
        ),
        ({"loss.terms.listnet.temperature": {"float": [0.5, 2.0]}}, BASE, "listnet.weight"),
        ({"optimizer.lr": {"float": [1e-4, 1e-3]}}, {**BASE, "model": {"kind": "linear"}}, "kind"),
        ({"compile": {"choice": [True, False]}}, {**BASE, "model": {"kind": "linear"}}, "kind"),
        (
            {"optimizer.lr": {"float": [0.1, 1.0], "when": {"optimizer.kind": "adabelief"}}},
            BASE,
            "optimizer.kind is 'adabelief'",
        ),
    ],
)
def test_dead_parameter_is_named(
    space: dict[str, Any], config: dict[str, Any], condition: str
) -> None:
    found = problem(sweep(space, config))
    assert found.code == "dead-parameter"
    assert condition in found.message


def test_parameter_of_a_kind_is_chosen_only_with_that_kind() -> None:
    space = {
        "scheduler.t_0": {"int": [2, 6]},
        "scheduler.kind": {"choice": ["constant", "cosine_restarts"]},
        "model.gat.layers": {"int": [0, 2]},
        "model.gat.dropout": {"float": [0.1, 0.4]},
    }
    checked = valid(sweep(space))
    t_0, kind, layers, dropout = (
        next(p for p in checked.space.parameters if p.path == path) for path in space
    )
    order = [p.path for p in checked.space.parameters]
    assert order.index("scheduler.kind") < order.index("scheduler.t_0")
    assert not checked.space.is_active(t_0, {kind.path: "constant"})
    assert checked.space.is_active(t_0, {kind.path: "cosine_restarts"})
    assert not checked.space.is_active(dropout, {layers.path: 0})
    assert any("scheduler.t_0 is chosen only where" in told for told in checked.warnings)


def test_what_was_said_of_another_kind_is_left_out() -> None:
    config = {**BASE, "scheduler": {"kind": "cosine_restarts", "t_0": 4, "eta_min": 0.0}}
    checked = valid(sweep({"scheduler.kind": {"choice": ["constant", "cosine_restarts"]}}, config))
    chosen = checked.space.config({"scheduler.kind": "constant"})
    assert chosen["scheduler"] == {"kind": "constant"}
    kept = checked.space.config({"scheduler.kind": "cosine_restarts"})
    assert kept["scheduler"] == config["scheduler"]


def test_weight_of_a_loss_term_leaves_the_other_terms() -> None:
    checked = valid(sweep({"loss.terms.listnet.weight": {"float": [0.1, 1.0]}}))
    config = TrainConfig.model_validate(checked.space.config({"loss.terms.listnet.weight": 0.25}))
    weights = {term.kind: term.weight for term in config.loss.terms}
    assert weights == {"huber": 0.1, "ic": 1.0, "soft_spearman": 0.5, "listnet": 0.25}


@pytest.mark.parametrize(
    ("more", "code", "pointer"),
    [
        ({"objective": {"metric": "valid/rank_ics"}}, "unknown-metric", "/objective/metric"),
        ({"objective": {"metric": "valid/ic@7"}}, "horizon-unknown", "/objective/metric"),
        ({"objective": {"metric": "valid/loss"}}, "objective-direction", "/objective/direction"),
        (
            {"objectives": [{"metric": "valid/ic"}, {"metric": "valid/sharpe"}], "pruner": {
                "kind": "asha"}},
            "pruner-objectives",
            "/pruner/kind",
        ),
        ({"seed_penalty": 1.0}, "seeds-missing", "/seed_penalty"),
        ({"sampler": {"kind": "grid"}}, "grid-uncountable", "/search_space/optimizer.lr"),
        ({"enqueue": [{"optimizer.lr": 5.0}]}, "outside-space", "/enqueue/0/optimizer.lr"),
        ({"enqueue": [{"optimizer.l": 1e-4}]}, "not-searched", "/enqueue/0/optimizer.l"),
        (
            {"sampler": {"kind": "random"}, "warm_start_from": ["swp_" + "0" * 26]},
            "sampler-forgets",
            "/warm_start_from",
        ),
        (
            {"pruner": {"kind": "wilcoxon"}, "objective": {"metric": "valid/turnover"}},
            "no-series",
            "/pruner/kind",
        ),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(more: dict[str, Any], code: str, pointer: str) -> None:
    found = problem(sweep({"optimizer.lr": {"float": [1e-5, 1e-3]}}, **more))
    assert (found.code, found.pointer) == (code, pointer)


def test_best_epoch_must_be_the_objectives() -> None:
    config = {**BASE, "early_stopping": {"metric": "valid/sharpe"}}
    found = problem(sweep({"seed": {"int": [0, 9]}}, config))
    assert found.code == "objective-mismatch"


@pytest.mark.parametrize(
    "distribution",
    [
        {},
        {"int": [1, 5], "float": [0.1, 0.2]},
        {"int": [5, 1]},
        {"float": [0.0, 1.0], "log": True},
        {"float": [0.1, 1.0], "log": True, "step": 0.1},
        {"int": [1, 5], "step": 0.5},
        {"choice": []},
        {"choice": [1, 1]},
        {"choice": [1, 2], "log": True},
        {"int": [1, 2], "hwen": {}},
    ],
)
def test_impossible_distribution_is_refused(distribution: dict[str, Any]) -> None:
    checked, problems = check(sweep({"seed": distribution}))
    assert checked is None
    assert problems[0].pointer.startswith("/search_space/seed")


def test_all_problems_are_told_at_once() -> None:
    given = sweep({"optimizer.l": {"float": [1, 2]}, "model.gatt": {"int": [1, 2]}}, n_trials=0)
    _, problems = check({**given, "max_paralel": 2})
    assert {p.pointer for p in problems} == {
        "/search_space/optimizer.l",
        "/search_space/model.gatt",
        "/n_trials",
        "/max_paralel",
    }


def test_grid_counts_every_combination_once() -> None:
    space = {
        "scheduler.kind": {"choice": ["constant", "cosine_restarts"]},
        "scheduler.t_0": {"int": [2, 3]},
        "optimizer.lr": {"float": [0.1, 0.3], "step": 0.1},
    }
    checked = valid(sweep(space, sampler={"kind": "grid"}, n_trials=100))
    points = list(checked.space.grid())
    assert len(points) == 3 * (1 + 2)
    assert len({str(sorted(point.items())) for point in points}) == len(points)
    assert checked.spec.n_trials == 9
    assert [p["optimizer.lr"] for p in points[:3]] == [0.1, 0.2, 0.3]


def test_circular_conditions_are_refused() -> None:
    space = {
        "optimizer.lr": {"float": [0.1, 0.2], "when": {"optimizer.weight_decay": 0.1}},
        "optimizer.weight_decay": {"choice": [0.1, 0.2], "when": {"optimizer.lr": 0.1}},
    }
    assert problem(sweep(space)).code == "circular-conditions"
