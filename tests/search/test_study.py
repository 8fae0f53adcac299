"""A study forgets nothing, doubles nothing, and suggests the same for the same seed."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import optuna
import pytest
from sqlalchemy import event

from app.db.database import make_engine
from gogooku3.config import TrainConfig
from gogooku3.search import (
    Search,
    Storage,
    Suggestion,
    Verdict,
    WarmTrial,
    importances,
    is_worse_over_days,
    memory_storage,
)
from gogooku3.search.ask import ask_in_child
from gogooku3.search.samplers import build_sampler
from gogooku3.search.values import optuna_distribution
from tests.search.conftest import SPACE, MakeSearch, make_sweep

SAMPLERS: list[dict[str, Any]] = [
    {"kind": "tpe", "seed": 3, "startup_trials": 4},
    {"kind": "random", "seed": 3},
    {"kind": "cmaes", "seed": 3},
    {"kind": "gp", "seed": 3, "startup_trials": 100},
    {"kind": "qmc", "seed": 3},
]


def value(suggestion: Suggestion) -> float:
    """A bowl: best at lr 1e-3, dropout 0.2, two layers."""
    params = suggestion.params
    return -(
        (math.log10(params["optimizer.lr"]) + 3) ** 2
        + (params["model.dropout"] - 0.2) ** 2
        + 0.1 * (params["model.gat.layers"] - 2) ** 2
        + (params["optimizer.kind"] == "adamw") * 0.1
    )


def run(search: Search, trials: int, start: int = 0) -> list[Suggestion]:
    done = []
    for index in range(start, start + trials):
        suggestion = search.suggest(index)
        search.tell(index, Verdict.COMPLETE, [value(suggestion)])
        done.append(suggestion)
    return done


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda one: one["kind"])
def test_same_seed_suggests_the_same_whatever_process_asks(
    sampler: dict[str, Any], make_search: MakeSearch
) -> None:
    once = run(make_search("one", sampler=sampler), 12)
    other = make_search("two", sampler=sampler)
    again = run(other, 6)
    # Another process goes on: nothing but the storage is carried over.
    fresh = Search(other.storage, "two", other.spec, other.space)
    again += run(fresh, 6, start=6)
    assert [one.params for one in once] == [one.params for one in again]
    different = run(make_search("three", sampler={**sampler, "seed": 4}), 12)
    assert [one.params for one in once] != [one.params for one in different]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda one: one["kind"])
def test_every_suggestion_is_accepted_by_the_configuration(
    sampler: dict[str, Any], make_search: MakeSearch
) -> None:
    search = make_search(sampler=sampler)
    for suggestion in run(search, 15):
        TrainConfig.model_validate(search.space.config(suggestion.params))
        assert suggestion.params["model.dropout"] in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
        assert set(suggestion.params) == set(SPACE)


def test_tpe_learns(make_search: MakeSearch) -> None:
    tpe = run(make_search("tpe", sampler={"kind": "tpe", "startup_trials": 8}), 40)
    chance = run(make_search("random", sampler={"kind": "random"}), 40)
    assert max(map(value, tpe[20:])) > max(map(value, tpe[:8]))
    mean = [sum(map(value, trials[20:])) / 20 for trials in (tpe, chance)]
    assert mean[0] > mean[1]


def test_gaussian_process_asks_in_a_child_process(
    search_url: str, database_storage: Storage, make_search: MakeSearch
) -> None:
    sampler = {"kind": "gp", "startup_trials": 4}
    search = make_search("gp", database_storage, sampler=sampler)
    run(search, 4)
    found = ask_in_child(search_url, search, 4)
    assert found.index == 4
    assert search.suggest(4) == found
    TrainConfig.model_validate(search.space.config(found.params))


def test_grid_gives_every_point_once(make_search: MakeSearch) -> None:
    space = {k: SPACE[k] for k in ("model.gat.layers", "optimizer.kind")}
    search = make_search(space=space, sampler={"kind": "grid"}, n_trials=100)
    assert search.spec.n_trials == 10
    points = {str(search.suggest(index).params) for index in range(10)}
    assert len(points) == 10
    with pytest.raises(ValueError, match="all of them are tried"):
        search.suggest(10)


def test_given_trials_come_first_and_the_rest_is_chosen(make_search: MakeSearch) -> None:
    search = make_search(enqueue=[{"optimizer.lr": 5.61e-5, "model.gat.layers": 3}, {}])
    first = search.suggest(0)
    assert first.params["optimizer.lr"] == 5.61e-5
    assert first.params["model.gat.layers"] == 3
    assert set(first.params) == set(SPACE)


def test_conditional_parameters_are_chosen_only_where_they_are_read(
    make_search: MakeSearch,
) -> None:
    space = {
        "scheduler.kind": {"choice": ["constant", "cosine_restarts"]},
        "scheduler.t_0": {"int": [2, 6]},
        "loss.terms.soft_spearman.weight": {"choice": [0.0, 0.1]},
        "data.horizons": {"choice": [[1, 5, 10, 20], [1, 5]]},
    }
    search = make_search(space=space)
    seen = set()
    for index in range(20):
        params = search.suggest(index).params
        assert ("scheduler.t_0" in params) is (params["scheduler.kind"] == "cosine_restarts")
        TrainConfig.model_validate(search.space.config(params))
        seen.add(params["scheduler.kind"])
        assert isinstance(params["data.horizons"], list)
        search.tell(index, Verdict.COMPLETE, [float(index % 3)])
    assert len(seen) == 2


def test_suggestion_is_given_again_until_it_is_told(make_search: MakeSearch) -> None:
    search = make_search()
    first = search.suggest(0)
    fresh = Search(search.storage, "swp", search.spec, search.space)
    assert fresh.suggest(0) == first
    assert search.storage.get_n_trials(search.study._study_id) == 1


def test_suggestion_that_was_cut_off_leaves_nothing_and_is_given_again(
    database_storage: Storage, make_search: MakeSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_search("whole", database_storage).suggest(0)
    search = make_search("cut", database_storage)

    whole = optuna.storages.RDBStorage._set_trial_param_without_commit
    written = 0

    def die_on_the_third(*args: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise SystemError("killed")
        whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(
            optuna.storages.RDBStorage, "_set_trial_param_without_commit", die_on_the_third
        )
        with pytest.raises(SystemError):
            search.suggest(0)
    assert written == 3
    assert search.study.trials == []
    assert search.suggest(0) == expected
    assert [trial.number for trial in search.study.trials] == [0]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda one: one["kind"])
def test_suggestions_are_what_optuna_itself_would_ask(
    sampler: dict[str, Any], make_search: MakeSearch
) -> None:
    search = make_search("ours", sampler=sampler)
    theirs = make_search("theirs", sampler=sampler)
    for index in range(12):
        suggestion = search.suggest(index)
        study = theirs.study
        study.sampler = build_sampler(theirs.spec, theirs.space, index)
        asked = study.ask(
            {p.path: optuna_distribution(p.distribution) for p in theirs.space.parameters}
        )
        assert asked.params == search.study.trials[index].params
        assert asked.params == pytest.approx(suggestion.params)
        # One that runs meanwhile counts too.
        if index % 3:
            search.tell(index, Verdict.COMPLETE, [value(suggestion)])
            study.tell(index, value(suggestion))


def test_suggesting_and_telling_are_few_statements(
    database_storage: Storage, make_search: MakeSearch
) -> None:
    """Each is some milliseconds of a worker's time, whatever the study has grown to."""
    search = make_search("few", database_storage, sampler={"kind": "tpe", "startup_trials": 4})
    run(search, 8)
    statements: list[str] = []
    engine = database_storage._backend.engine  # type: ignore[attr-defined]

    def note(*given: Any) -> None:
        statements.append(given[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        found = search.suggest(8)
        asked = len(statements)
        search.tell(8, Verdict.COMPLETE, [value(found)], curve={1: 0.5})
    finally:
        event.remove(engine, "before_cursor_execute", note)
    told = len(statements) - asked
    # Three for each value of a trial, and those that read what is new in the study.
    assert asked <= 16 + 3 * len(SPACE), statements
    assert told <= 14, statements[asked:]


def test_values_are_told_with_the_trials_end(make_search: MakeSearch) -> None:
    search = make_search()
    for index in range(3):
        search.suggest(index)
    search.report(0, 1, 0.5)
    search.tell(0, Verdict.PRUNED, curve={1: 9.0, 2: 0.25})
    search.tell(1, Verdict.PRUNED, curve={1: None})
    first, second, _ = search.study.trials
    assert first.intermediate_values == {1: 0.5, 2: 0.25}
    assert first.value == 0.25
    assert second.value is None
    for wrong in (None, [], [math.nan], [0.5, 0.5]):
        with pytest.raises(ValueError, match="cannot be complete"):
            search.tell(2, Verdict.COMPLETE, wrong)
    assert search.study.trials[2].state.name == "RUNNING"


def test_tell_is_repeatable_and_failure_has_no_value(make_search: MakeSearch) -> None:
    search = make_search()
    for index in range(3):
        search.suggest(index)
    search.tell(0, Verdict.COMPLETE, [0.5])
    search.tell(0, Verdict.COMPLETE, [9.9])
    search.tell(1, Verdict.FAIL, reason="out of memory")
    search.report(2, 1, 0.25)
    search.report(2, 1, 0.75)
    search.tell(2, Verdict.PRUNED)
    trials = search.study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "PRUNED"]
    assert trials[0].value == 0.5
    assert trials[1].value is None
    assert trials[1].user_attrs["reason"] == "out of memory"
    assert trials[2].intermediate_values == {1: 0.25}
    assert search.study.best_trial.number == 0


def test_constraints_decide_what_may_be_best(make_search: MakeSearch) -> None:
    search = make_search()
    for index, (goal, violation) in enumerate([(0.9, 0.2), (0.5, -0.1), (0.7, None)]):
        search.suggest(index)
        search.tell(index, Verdict.COMPLETE, [goal], constraints={"turnover": violation})
    assert search.study.best_trial.number == 1


def test_several_objectives_have_a_front(make_search: MakeSearch) -> None:
    goals = [
        {"metric": "valid/rank_ic"},
        {"metric": "valid/turnover", "direction": "minimize"},
    ]
    search = make_search(objectives=goals)
    for index, values in enumerate([(0.5, 0.5), (0.4, 0.6), (0.2, 0.1)]):
        search.suggest(index)
        search.tell(index, Verdict.COMPLETE, values)
    assert {trial.number for trial in search.study.best_trials} == {0, 2}


def test_interrupted_warm_start_is_gone_on_with(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = make_sweep(sampler={"kind": "tpe", "startup_trials": 4})
    good = {
        "optimizer.lr": 1e-3,
        "model.dropout": 0.2,
        "model.gat.layers": 2,
        "optimizer.kind": "adabelief",
    }
    bad = good | {"optimizer.lr": 0.09, "optimizer.kind": "adamw"}
    warm = [WarmTrial(f"swp {i}", good if i % 2 else bad, (float(i % 2),)) for i in range(20)]
    create = storage.create_new_trial
    made = 0

    def die_on_the_eighth(*args: Any, **more: Any) -> int:
        nonlocal made
        made += 1
        if made == 8:
            raise SystemError("killed")
        return create(*args, **more)

    monkeypatch.setattr(storage, "create_new_trial", die_on_the_eighth)
    with pytest.raises(SystemError):
        Search(storage, "warm", checked.spec, checked.space).prepare(warm)
    search = Search(storage, "warm", checked.spec, checked.space)
    search.prepare(warm)
    trials = search.study.trials
    assert [trial.user_attrs["from"] for trial in trials] == [one.source for one in warm]
    found = search.suggest(0)
    assert found.params["optimizer.kind"] == "adabelief"
    search.tell(0, Verdict.COMPLETE, [0.5])
    assert search.study.trials[20].value == 0.5


PRUNERS: list[dict[str, Any]] = [
    {"kind": "median", "startup_trials": 3},
    {"kind": "percentile", "startup_trials": 3},
    {"kind": "asha"},
    {"kind": "hyperband"},
    {"kind": "threshold", "lower": 0.2},
    {"kind": "patient", "patience": 2},
]


@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda one: one["kind"])
def test_pruner_ends_bad_trials_and_lets_good_ones_go_on(
    pruner: dict[str, Any], make_search: MakeSearch
) -> None:
    search = make_search(pruner=pruner)
    for index in range(6):
        search.suggest(index)
        for epoch in range(1, 10):
            search.report(index, epoch, 0.5 + 0.01 * epoch + 0.001 * index)
        search.tell(index, Verdict.COMPLETE, [0.6])
    ended: dict[str, int | None] = {"good": None, "bad": None}
    for index, (name, sign) in enumerate([("good", 1), ("bad", -1)], start=6):
        search.suggest(index)
        for epoch in range(1, 10):
            search.report(index, epoch, 0.5 * sign + 0.02 * epoch * sign)
            if search.should_prune(index):
                ended[name] = epoch
                break
    assert ended["good"] is None
    assert ended["bad"] is not None
    assert ended["bad"] <= 5


def test_without_a_pruner_nothing_is_pruned(make_search: MakeSearch) -> None:
    search = make_search(pruner={"kind": "none"})
    run(search, 6)
    search.suggest(6)
    search.report(6, 1, -100.0)
    assert not search.should_prune(6)


def test_wilcoxon_compares_the_same_days() -> None:
    import numpy as np

    config = make_sweep(pruner={"kind": "wilcoxon"}).spec.pruner
    rng = np.random.default_rng(0)
    market = rng.normal(0.0, 0.2, 120)  # days that are good or bad for every trial
    best = dict(enumerate((market + 0.05 + rng.normal(0, 0.02, 120)).tolist()))
    worse = dict(enumerate((market + 0.03 + rng.normal(0, 0.02, 120)).tolist()))
    equal = dict(enumerate((market + 0.05 + rng.normal(0, 0.02, 120)).tolist()))
    assert is_worse_over_days(config, best, worse)  # type: ignore[arg-type]
    assert not is_worse_over_days(config, best, equal)  # type: ignore[arg-type]
    assert not is_worse_over_days(config, worse, best)  # type: ignore[arg-type]
    few = {day: worse[day] for day in range(10)}
    assert not is_worse_over_days(config, best, few)  # type: ignore[arg-type]


def test_importances_find_what_mattered(make_search: MakeSearch) -> None:
    search = make_search(sampler={"kind": "random"}, n_trials=100)
    assert importances(search) is None
    run(search, 60)
    found = importances(search)
    assert found is not None
    assert next(iter(found)) == "optimizer.lr"
    assert sum(found.values()) == pytest.approx(1.0)


def test_study_tells_how_it_was_made(make_search: MakeSearch) -> None:
    attributes = make_search(sampler={"kind": "tpe", "seed": 11}).study.user_attrs
    assert attributes["optuna_version"] == optuna.__version__
    assert attributes["sampler"] == {"kind": "tpe", "seed": 11, "startup_trials": 10}


def test_dashboards_find_the_study_by_the_address_that_is_documented(
    search_url: str, database_storage: Storage, make_search: MakeSearch
) -> None:
    make_search("shown", database_storage)
    storage = optuna.storages.RDBStorage(f"{search_url}&options=-csearch_path%3Doptuna")
    assert "shown" in optuna.study.get_all_study_names(storage)
    storage.remove_session()
    storage.engine.dispose()


def test_four_workers_ask_and_tell_at_once(
    database_storage: Storage, search_url: str, make_search: MakeSearch
) -> None:
    """As workers do it: asking under the sweep's lock, telling and reporting without."""
    checked = make_sweep(sampler={"kind": "tpe"}, pruner={"kind": "median"}, n_trials=100)
    Search(database_storage, "crowd", checked.spec, checked.space).prepare()
    engine = make_engine(search_url, pool_size=4)
    start = threading.Barrier(4)
    per_worker = 6

    def work(_: int) -> list[int]:
        search = Search(database_storage, "crowd", checked.spec, checked.space)
        start.wait()
        mine = []
        for _ in range(per_worker):
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7)")
                number = database_storage.get_n_trials(search.study._study_id)
                suggestion = search.suggest(number)
            search.report(number, 1, value(suggestion))
            search.should_prune(number)
            search.tell(number, Verdict.COMPLETE, [value(suggestion)])
            mine.append(number)
        return mine

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for found in pool.map(work, range(4)) for number in found]
    engine.dispose()
    assert sorted(numbers) == list(range(4 * per_worker))
    trials = Search(database_storage, "crowd", checked.spec, checked.space).study.trials
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert memory_storage() is not database_storage
