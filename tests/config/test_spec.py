"""The job's specification: defaults, derived values, and every problem of a bad one at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gogooku3.config import (
    AtftGatFanConfig,
    CosineRestartsConfig,
    JobSpec,
    PurgedKFoldSplit,
    TrainConfig,
    WalkForwardSplit,
    check,
    config_sources,
)

SPEC: dict[str, Any] = {
    "name": "baseline",
    "dataset": "jp",
    "config": {
        "seed": 7,
        "data": {
            "lookback": 60,
            "horizons": [1, 5],
            "split": {"train_end": "2017-12-31", "valid_end": "2018-12-31"},
        },
        "model": {"hidden_size": 256, "gat": {"layers": 3}},
        "loss": {"terms": [{"kind": "huber"}, {"kind": "soft_spearman", "weight": 0.1}]},
    },
}


def spec_with(path: str, value: Any) -> dict[str, Any]:
    """SPEC with one value set, parents made as needed."""
    spec = copy.deepcopy(SPEC)
    *parents, last = path.split(".")
    part = spec
    for name in parents:
        part = part.setdefault(name, {})
    part[last] = value
    return spec


def test_effective_spec_round_trips_through_json() -> None:
    spec = JobSpec.model_validate(SPEC)
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


def test_kind_defaults_when_left_out() -> None:
    config = JobSpec.model_validate(SPEC).config
    assert isinstance(config.model, AtftGatFanConfig)
    assert config.optimizer.kind == "adamw"
    assert config.data.split.kind == "date"


@pytest.mark.parametrize(
    ("split", "kind"),
    [
        ({"kind": "walk_forward", "folds": 3, "valid_days": 60}, WalkForwardSplit),
        ({"kind": "purged_kfold", "folds": 5, "fold": 4}, PurgedKFoldSplit),
    ],
)
def test_split_is_chosen_by_kind(split: dict[str, Any], kind: type) -> None:
    spec = JobSpec.model_validate(spec_with("config.data.split", split))
    assert isinstance(spec.config.data.split, kind)
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


def test_schedule_is_chosen_by_kind() -> None:
    spec = spec_with("config.scheduler", {"kind": "cosine_restarts", "t_0": 4})
    scheduler = JobSpec.model_validate(spec).config.scheduler
    assert isinstance(scheduler, CosineRestartsConfig)
    assert (scheduler.t_0, scheduler.t_mult) == (4, 2)


@pytest.mark.parametrize("layers", range(9))
@pytest.mark.parametrize("hidden_size", [16, 24, 32, 256, 20])
def test_any_number_of_gat_layers_is_valid_alone(layers: int, hidden_size: int) -> None:
    spec = spec_with("config.model", {"hidden_size": hidden_size, "gat": {"layers": layers}})
    model = JobSpec.model_validate(spec).config.model
    assert isinstance(model, AtftGatFanConfig)
    assert model.gat.heads is not None
    assert model.gat.concat is not None
    assert len(model.gat.heads) == len(model.gat.concat) == layers
    assert all(hidden_size % heads == 0 for heads in model.gat.heads)
    assert model.gat.concat[-1:] in ((), (False,))


def test_gat_heads_follow_the_paper_when_the_width_allows() -> None:
    model = JobSpec.model_validate(SPEC).config.model
    assert isinstance(model, AtftGatFanConfig)
    assert model.gat.heads == (8, 4, 4)
    assert model.gat.concat == (True, True, False)


def test_effective_config_validates_to_itself() -> None:
    config = JobSpec.model_validate(SPEC).config
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("path", "value", "pointer", "code", "words"),
    [
        ("config.optimizer.lrr", 1, "/config/optimizer/lrr", "unknown-key", "'lr'"),
        ("datset", "jp", "/datset", "unknown-key", "'dataset'"),
        (
            "config.model.gat.heads",
            [8, 4],
            "/config/model/gat/heads",
            "gat-list-length",
            "2 entries for 3",
        ),
        (
            "config.model.gat.concat",
            [True],
            "/config/model/gat/concat",
            "gat-list-length",
            "1 entries for 3",
        ),
        (
            "config.model.kind",
            "resnet",
            "/config/model/kind",
            "union-tag-invalid",
            "'atft_gat_fan'",
        ),
        (
            "config.model.fan",
            {"top_k": 31},
            "/config/model/fan/top_k",
            "fan-top-k",
            "31 frequency bins",
        ),
        (
            "config.model.fan",
            {"kind": "streaming", "top_k": 4, "window": 6},
            "/config/model/fan/top_k",
            "fan-top-k",
            "trailing window: 6 days have 4 frequency bins",
        ),
        (
            "config.loss.terms",
            [{"kind": "quantile"}],
            "/config/loss/terms",
            "term-without-head",
            "model.head.kind = quantile, not score",
        ),
        (
            "config.model.head",
            {"kind": "student_t"},
            "/config/loss/terms",
            "head-without-term",
            "student_t",
        ),
        (
            "config.loss.terms",
            [{"kind": "ic"}, {"kind": "turnover"}],
            "/config/loss/terms/1",
            "turnover-without-blocks",
            "batch.block_days",
        ),
        (
            "config",
            SPEC["config"] | {"model": {"kind": "linear"}, "loss": {"regime": {}}},
            "/config/loss/regime",
            "regime-without-steps",
            "linear is not trained in steps",
        ),
        (
            "resources",
            {"gpus": 4},
            "/resources/gpus",
            "gpus-without-days",
            "ask for at most 1, or set batch.accumulate to 4",
        ),
        (
            "config.model.fan",
            {"kind": "streaming", "window": 61},
            "/config/model/fan/window",
            "fan-window",
            "look-back of 60 days",
        ),
        ("config.model.encoder", {"heads": 3}, "/config/model/encoder/heads", "heads-width", "256"),
        ("config.data.horizons", [5, 1], "/config/data/horizons", "horizons-order", "increase"),
        (
            "config.data.split.valid_end",
            "2016-01-01",
            "/config/data/split/valid_end",
            "split-order",
            "2017-12-31",
        ),
        (
            "config.data.split",
            {"kind": "walk_forward", "folds": 3, "fold": 3, "valid_days": 60},
            "/config/data/split/fold",
            "fold-unknown",
            "0 to 2",
        ),
        (
            "config.data.split",
            {"kind": "purged_kfold", "folds": 3, "start": "2020-01-01", "end": "2019-01-01"},
            "/config/data/split/end",
            "split-order",
            "2020-01-01",
        ),
        (
            "config.data.split",
            {"kind": "purged_kfold", "folds": 1},
            "/config/data/split/folds",
            "greater-than-equal",
            "given 1",
        ),
        (
            "config.data.split",
            {"kind": "purged_kfold", "folds": 3, "valid_days": 5},
            "/config/data/split/valid_days",
            "unknown-key",
            "valid_days",
        ),
        (
            "config.data.split",
            {"kind": "random", "folds": 3},
            "/config/data/split/kind",
            "union-tag-invalid",
            "'purged_kfold'",
        ),
        (
            "config.loss.horizon_weights",
            {"1": 1},
            "/config/loss/horizon_weights",
            "horizon-missing",
            "5",
        ),
        (
            "config.loss.horizon_weights",
            {"1": 1, "5": 1, "9": 1},
            "/config/loss/horizon_weights/9",
            "horizon-unknown",
            "9",
        ),
        (
            "config.loss.terms",
            [{"kind": "mse"}, {"kind": "mse"}],
            "/config/loss/terms",
            "loss-term-repeat",
            "mse",
        ),
        (
            "config.loss.terms",
            [{"kind": "huber", "delta": 0}],
            "/config/loss/terms/0/delta",
            "greater-than",
            "given 0",
        ),
        (
            "config.early_stopping",
            {"metric": "train/loss"},
            "/config/early_stopping/metric",
            "string-pattern-mismatch",
            "train/loss",
        ),
        (
            "config.early_stopping",
            {"metric": "valid/ic@20"},
            "/config/early_stopping/metric",
            "horizon-unknown",
            "20",
        ),
        ("dataset", "../../etc/passwd", "/dataset", "string-pattern-mismatch", "passwd"),
        ("config.max_epochs", 0, "/config/max_epochs", "greater-than-equal", "given 0"),
        (
            "config.optimizer",
            {"lr": float("nan")},
            "/config/optimizer/lr",
            "finite-number",
            "finite",
        ),
    ],
)
def test_bad_value_names_the_field(
    path: str, value: Any, pointer: str, code: str, words: str
) -> None:
    valid, problems = check(JobSpec, spec_with(path, value))
    assert valid is None
    assert [problem.pointer for problem in problems] == [pointer]
    assert problems[0].code == code
    assert words in problems[0].message


@pytest.mark.parametrize(
    ("batch", "kind", "gpus", "is_valid"),
    [
        ({"days_per_step": 2, "accumulate": 2}, "ic", 4, True),
        # A portfolio's variance over two days is not the mean of those over one.
        ({"days_per_step": 2, "accumulate": 2}, "sharpe", 4, False),
        ({"days_per_step": 2, "accumulate": 2}, "sharpe", 2, True),
        ({"days_per_step": 4, "block_days": 2}, "turnover", 2, True),
        ({"days_per_step": 4, "block_days": 2}, "turnover", 3, False),
    ],
)
def test_gpus_cut_no_batch_whose_days_are_looked_at_together(
    batch: dict[str, int], kind: str, gpus: int, is_valid: bool
) -> None:
    spec = spec_with("config.loss.terms", [{"kind": "huber"}, {"kind": kind}])
    spec["config"]["batch"] = batch
    _, problems = check(JobSpec, spec | {"resources": {"gpus": gpus}})
    assert [p.code for p in problems] == ([] if is_valid else ["gpus-cut-batches"])


def test_every_problem_is_reported_at_once() -> None:
    spec = spec_with("config.data.lookback", 4)
    spec["config"]["model"] |= {"fan": {"top_k": 3}, "gat": {"layers": 3, "heads": [8]}, "hiden": 1}
    spec["config"]["early_stopping"] = {"metric": "valid/rank_ic@3"}
    spec["lables"] = {}
    valid, problems = check(JobSpec, spec)
    assert valid is None
    assert {problem.pointer for problem in problems} == {
        "/lables",
        "/config/model/hiden",
        "/config/model/gat/heads",
        "/config/model/fan/top_k",
        "/config/early_stopping/metric",
    }


@pytest.mark.parametrize(
    "given", [None, [], "text", 3, {}, {"config": []}, {"config": {"data": 1}}]
)
def test_anything_else_is_a_problem_not_a_crash(given: Any) -> None:
    valid, problems = check(JobSpec, given)
    assert valid is None
    assert problems


def test_checking_leaves_the_input_as_it_was() -> None:
    spec = spec_with("config.optimizer.lrr", 1)
    before = copy.deepcopy(spec)
    check(JobSpec, spec)
    assert spec == before


def test_the_trailing_window_is_half_of_the_look_back() -> None:
    config = JobSpec.model_validate(spec_with("config.model.fan", {"kind": "streaming"})).config
    assert isinstance(config.model, AtftGatFanConfig)
    assert config.model.fan.model_dump()["window"] == 30
    again = TrainConfig.model_validate_json(config.model_dump_json())
    assert again == config


def test_the_pinball_loss_takes_its_levels_from_the_head() -> None:
    spec = spec_with("config.model.head", {"kind": "quantile", "levels": [0.1, 0.5]})
    spec["config"]["loss"] = {"terms": [{"kind": "ic"}, {"kind": "quantile"}]}
    config = JobSpec.model_validate(spec).config
    assert config.loss.model_dump()["terms"][1]["levels"] == (0.1, 0.5)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    spec["config"]["loss"]["terms"][1]["levels"] = [0.2, 0.5]
    _, problems = check(JobSpec, spec)
    assert [p.pointer for p in problems] == ["/config/loss/terms/1/levels"]
    spec["config"]["model"]["head"]["levels"] = [0.5, 0.1]
    spec["config"]["loss"]["terms"][1] = {"kind": "quantile"}
    _, problems = check(JobSpec, spec)
    assert problems[0].pointer == "/config/model/head/levels"
    assert "hold 0.5" in problems[0].message


def test_sources_tell_what_was_asked_derived_and_default() -> None:
    config = JobSpec.model_validate(SPEC).config
    sources = config_sources(config, SPEC["config"])
    assert sources["seed"] == "request"
    assert sources["model.gat.layers"] == "request"
    assert sources["model.gat.heads"] == "derived"
    assert sources["model.head.hidden"] == "derived"
    assert sources["loss.horizon_weights"] == "derived"
    assert sources["loss.terms.1.weight"] == "request"
    assert sources["loss.terms.1.bins"] == "default"
    assert sources["optimizer.lr"] == "default"
    assert sources["data.split.train_end"] == "request"


def test_sources_cover_every_leaf() -> None:
    config = JobSpec.model_validate(SPEC).config

    def leaves(value: Any, path: str) -> set[str]:
        if isinstance(value, dict) and not path.endswith("horizon_weights"):
            return {leaf for key, below in value.items() for leaf in leaves(below, f"{path}.{key}")}
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            return {
                leaf
                for index, below in enumerate(value)
                for leaf in leaves(below, f"{path}.{index}")
            }
        return {path.removeprefix(".")}

    assert set(config_sources(config, {})) == leaves(config.model_dump(), "")


def test_default_terms_have_a_source_when_the_request_has_none() -> None:
    spec = copy.deepcopy(SPEC)
    del spec["config"]["loss"]
    sources = config_sources(JobSpec.model_validate(spec).config, spec["config"])
    assert sources["loss.terms.0.kind"] == "default"
