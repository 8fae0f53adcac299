"""Whether a configuration fits a dataset: every problem, at its place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from gogooku3.config import DataConfig, DateSplit
from gogooku3.data.header import DatasetHeader, check_data

Config = Callable[..., DataConfig]


def test_a_fitting_configuration_has_no_problem(header: DatasetHeader, data_config: Config) -> None:
    assert check_data(header, data_config()) == []
    assert check_data(header, data_config(features=("return_5", "gap_1"), horizons=(5,))) == []


def test_every_problem_is_named_at_its_place(header: DatasetHeader, data_config: Config) -> None:
    split = DateSplit(train_end=date(1990, 1, 1), valid_end=date(1991, 1, 1))
    data = data_config(
        horizons=(1, 2, 5, 9), features=("return_1", "retrun_5", "sentiment"), split=split
    )
    problems = {problem.pointer: problem for problem in check_data(header, data)}
    assert list(problems) == [
        "/data/horizons/1",
        "/data/horizons/3",
        "/data/features/1",
        "/data/features/2",
        "/data/split",
    ]
    assert problems["/data/horizons/1"].code == "horizon-unknown"
    assert "1, 5, 10, 20" in problems["/data/horizons/1"].message
    assert "did you mean 'return_5'" in problems["/data/features/1"].message
    assert "known are: return_1" in problems["/data/features/2"].message
    assert problems["/data/split"].code == "empty-split"


def test_days_before_the_first_universe_are_not_days(
    header: DatasetHeader, data_config: Config
) -> None:
    # 20 days of look-back and 20 of horizon would fit before day 53; a universe would not.
    split = DateSplit(train_end=header.calendar[70], valid_end=header.calendar[150], embargo_days=0)
    assert [p.pointer for p in check_data(header, data_config(split=split))] == ["/data/split"]
