"""What a comparison of jobs says of them."""

from __future__ import annotations

from typing import Any

import pytest

from app.cli.comparison import differences, doubts
from gogooku3.client import Job

CONFIG: dict[str, Any] = {
    "seed": 7,
    "data": {"split": {"train_end": "2018-11-30"}, "horizons": [1, 5]},
    "model": {"kind": "linear"},
}


def job(name: str, config: dict[str, Any], **more: Any) -> Job:
    given = {"state": "succeeded", "dataset": "jp", "created_at": "2026-01-02T03:04:05Z"}
    return Job.model_validate({**given, "id": name, "config": config, **more})


def test_differences_are_named_by_their_path_and_nothing_else_is() -> None:
    other = CONFIG | {"seed": 8, "model": {"kind": "lstm", "hidden_size": 16}}
    assert differences([job("a", CONFIG), job("b", other)]) == {
        "model.hidden_size": [None, 16],
        "model.kind": ["linear", "lstm"],
        "seed": [7, 8],
    }
    assert differences([job("a", CONFIG), job("b", CONFIG)]) == {}


@pytest.mark.parametrize(
    ("config", "more", "doubt"),
    [
        ({**CONFIG, "seed": 8}, {}, None),
        (CONFIG, {"dataset_fingerprint": "f2"}, "different datasets"),
        (CONFIG | {"data": {"split": {"train_end": "2019-01-31"}}}, {}, "different splits"),
    ],
)
def test_other_days_or_stocks_are_no_fair_comparison(
    config: dict[str, Any], more: dict[str, Any], doubt: str | None
) -> None:
    jobs = [job("a", CONFIG, dataset_fingerprint="f1")]
    jobs.append(job("b", config, **{"dataset_fingerprint": "f1", **more}))
    found = doubts(jobs, differences(jobs))
    assert [words for words in found if doubt is None or doubt not in words] == []
    assert bool(found) == (doubt is not None)


def test_one_job_is_not_compared_with_itself(gogooku3: Any) -> None:
    done = gogooku3("compare", "job_01k8z3v8m4e9c2r7t5w6x0y1za", "job_01k8z3v8m4e9c2r7t5w6x0y1za")
    assert done.returncode == 2
    assert "two different jobs" in done.stderr
