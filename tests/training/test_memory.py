"""Out of memory: a limit of its own, an error in words, and the largest batch that fits, measured.

The limit is the process's, so what meets it runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gogooku3.config import BatchConfig, TrainConfig
from gogooku3.data.build import build
from gogooku3.data.header import read_header
from gogooku3.data.synth import synthesise
from gogooku3.events import RunRequest
from gogooku3.training.probe import is_allowed, smaller_batches, widest_days


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = synthesise(stocks=300, days=80, seed=0)
    path = tmp_path_factory.mktemp("market") / "wide.arrow"
    build(made.table, name="wide", out=path, horizons=(1,))
    return path


def run(request: RunRequest) -> tuple[list[dict[str, Any]], int]:
    """The events of a trainer process, and its exit code."""
    read_fd, write_fd = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "gogooku3.training.run", "--events-fd", str(write_fd)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(write_fd,),
    )
    os.close(write_fd)
    assert child.stdin is not None
    child.stdin.write(request.model_dump_json().encode())
    child.stdin.close()
    with os.fdopen(read_fd) as pipe:
        return [json.loads(line) for line in pipe], child.wait()


def test_a_run_without_enough_memory_is_told_the_largest_batch_that_fits(
    market: Path, tmp_path: Path
) -> None:
    calendar = read_header(market).calendar
    config = TrainConfig.model_validate(
        {
            "max_epochs": 1,
            "data": {
                "lookback": 20,
                "horizons": (1,),
                "split": {"train_end": calendar[64], "valid_end": calendar[-1]},
            },
            "model": {"kind": "lstm", "hidden_size": 128},
            "batch": {"days_per_step": 16},
            "evaluation": {"train_days": 0},
        }
    )
    asked = RunRequest(
        config=config, dataset=market, out_dir=tmp_path / "one", cpu_threads=1, memory_mb=600
    )
    events, code = run(asked)
    failure = events[-1]
    assert code == 4
    assert (failure["type"], failure["failure_class"]) == ("failure", "oom"), failure
    fit = failure["findings"][0]["largest_fit"]
    assert fit["batch.days_per_step"] < 16
    assert fit["batch.days_per_step"] * fit["batch.accumulate"] == 16
    assert f"batch.days_per_step = {fit['batch.days_per_step']}" in failure["next_action"]
    # The advice is good: the same run with it goes through under the same limit.
    batch = BatchConfig(**{name.partition(".")[2]: value for name, value in fit.items()})
    advised = config.model_copy(update={"batch": batch})
    events, code = run(asked.model_copy(update={"config": advised, "out_dir": tmp_path / "two"}))
    assert code == 0, events[-1]


TWO_LIMITS = """
import mmap
from gogooku3.training.memory import MIB, limit_memory, own_bytes

def reserve():
    return mmap.mmap(-1, 60 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

most = own_bytes() // MIB + 100
limit_memory(most)
kept = reserve()
limit_memory(most)
try:
    reserve()
except OSError:
    print("refused")
"""


def test_what_was_reserved_under_a_limit_counts_under_the_next() -> None:
    """Else the batch that is found to fit is larger than what a run of its own can hold."""
    told = subprocess.run(
        [sys.executable, "-c", TWO_LIMITS], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split() == ["refused"], told


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"days_per_step": 4}, [(4, 1, 1), (2, 1, 2), (1, 1, 4)]),
        ({"days_per_step": 15}, [(15, 1, 1), (5, 1, 3), (1, 1, 15)]),
        ({"days_per_step": 8, "block_days": 4}, [(8, 4, 1), (4, 2, 2), (2, 1, 4), (1, 1, 8)]),
        ({"days_per_step": 10, "block_days": 5}, [(10, 5, 1), (2, 1, 5), (1, 1, 10)]),
    ],
    ids=["days", "odd days", "blocks", "odd blocks"],
)
def test_fewer_days_at_once_make_the_same_step(
    given: dict[str, int], expected: list[tuple[int, int, int]]
) -> None:
    found = list(smaller_batches(BatchConfig(**given), widest=300))
    days = [(b.days_per_step, b.block_days, b.accumulate) for b in found]
    assert days[: len(expected)] == expected
    assert [b.stocks_per_step for b in found[len(expected) :]] == [150, 75]
    for batch in found:
        assert BatchConfig.model_validate(batch.model_dump()) == batch
        assert batch.days_per_step * batch.accumulate == given["days_per_step"]


def test_no_batch_is_advised_that_a_job_may_not_have() -> None:
    """Turnover needs a day before: single days are left out."""
    config = TrainConfig.model_validate(
        {
            "data": {"split": {"train_end": "2018-12-31", "valid_end": "2019-12-31"}},
            "loss": {"terms": [{"kind": "huber"}, {"kind": "turnover"}]},
            "batch": {"days_per_step": 4, "block_days": 4},
        }
    )
    found = [b for b in smaller_batches(config.batch, widest=64) if is_allowed(config, b)]
    assert [(b.days_per_step, b.block_days) for b in found] == [(4, 4), (2, 2)]


def test_the_days_that_are_tried_follow_each_other_and_have_the_most_stocks() -> None:
    """A block across a gap of the split is refused, and that would end the search."""
    stocks = {3: 9, 4: 9, 7: 9, 8: 8, 9: 8}
    universe_TN = torch.zeros(12, 10, dtype=torch.bool)
    for day, count in stocks.items():
        universe_TN[day, :count] = True
    experiment: Any = SimpleNamespace(panel=SimpleNamespace(universe_TN=universe_TN))
    assert widest_days(experiment, [2, 3, 4, 7, 8, 9], 2) == [3, 4]
    assert widest_days(experiment, [2, 3, 4, 7, 8, 9], 3) == [7, 8, 9]
    assert widest_days(experiment, [2, 3, 4, 7, 8], 3) == [2, 3, 4]
    assert widest_days(experiment, [2, 3, 7], 3) == [2, 3]
