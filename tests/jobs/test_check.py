"""A specification is checked whole: itself, its dataset, and how they fit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from app.domain import InvalidSpecError
from app.jobs.check import check_spec
from gogooku3.data.build import build
from gogooku3.data.synth import synthesise


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("caches")
    market = synthesise(stocks=24, days=200, seed=1)
    build(market.table, name="demo", out=folder / "demo.arrow", planted=market.planted)
    (folder / "broken.arrow").write_bytes(b"not an arrow file")
    return folder


@pytest.fixture
def spec() -> dict[str, Any]:
    return {
        "dataset": "demo",
        "config": {
            "data": {
                "lookback": 10,
                "split": {"train_end": "2018-06-29", "valid_end": "2018-08-31"},
            }
        },
    }


def problems(given: Any, caches: Path) -> dict[str, str]:
    with pytest.raises(InvalidSpecError) as caught:
        check_spec(given, caches)
    return {problem.pointer: problem.message for problem in caught.value.problems}


def test_a_valid_one(spec: dict[str, Any], caches: Path) -> None:
    checked, header = check_spec(spec, caches)
    assert checked.config.data.lookback == 10
    assert header.name == "demo"
    assert len(header.fingerprint) == 64


def test_every_problem_at_once(spec: dict[str, Any], caches: Path) -> None:
    wrong = copy.deepcopy(spec)
    wrong["prioritty"] = 1
    wrong["config"]["optimizer"] = {"kind": "adamw", "lrr": 1.0}
    wrong["config"]["data"]["horizons"] = [1, 3]
    wrong["config"]["data"]["features"] = ["returm_1d"]
    found = problems(wrong, caches)
    assert set(found) >= {
        "/prioritty",
        "/config/optimizer/lrr",
        "/config/data/horizons/1",
        "/config/data/features/0",
    }
    assert "priority" in found["/prioritty"]
    assert "1, 5, 10, 20" in found["/config/data/horizons/1"]


def test_a_split_that_leaves_no_days(spec: dict[str, Any], caches: Path) -> None:
    spec["config"]["data"]["split"] = {"train_end": "2030-01-01", "valid_end": "2031-01-01"}
    assert set(problems(spec, caches)) == {"/config/data/split"}


def test_an_unknown_dataset_names_the_nearest(spec: dict[str, Any], caches: Path) -> None:
    found = problems({**spec, "dataset": "dem"}, caches)
    assert set(found) == {"/dataset"}
    assert "'demo'" in found["/dataset"]
    assert "broken" in problems({**spec, "dataset": "zzz"}, caches)["/dataset"]


def test_an_empty_folder_says_how_to_fill_it(spec: dict[str, Any], tmp_path: Path) -> None:
    assert "data synth" in problems(spec, tmp_path)["/dataset"]


def test_an_unknown_dataset_beside_other_problems(spec: dict[str, Any], caches: Path) -> None:
    spec["config"]["seed"] = -1
    assert set(problems({**spec, "dataset": "nope"}, caches)) == {"/dataset", "/config/seed"}


def test_a_damaged_dataset_does_not_tell_where_it_lies(spec: dict[str, Any], caches: Path) -> None:
    message = problems({**spec, "dataset": "broken"}, caches)["/dataset"]
    assert "dataset 'broken'" in message
    assert str(caches) not in message


@pytest.mark.parametrize("name", ["../demo", "demo/../demo", "", ".demo", 7, None, "a" * 65])
def test_a_dataset_is_a_name_not_a_path(name: Any, spec: dict[str, Any], caches: Path) -> None:
    assert set(problems({**spec, "dataset": name}, caches)) == {"/dataset"}


@pytest.mark.parametrize("given", [None, [], "text", 3, {}, {"config": None}, {"config": []}])
def test_something_else_altogether(given: Any, caches: Path) -> None:
    assert problems(given, caches)


def test_what_cannot_be_stored_is_a_problem(spec: dict[str, Any], caches: Path) -> None:
    wrong = {**spec, "note": "a\x00b", "labels": {"k": "\x00"}}
    assert set(problems(wrong, caches)) == {"/note", "/labels/k"}
