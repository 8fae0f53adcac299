"""Several processes that train one model: the same result, one voice, and one end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from gogooku3.config import TrainConfig
from gogooku3.events import Event, ResumePointEvent, RunRequest
from gogooku3.training.experiment import Experiment
from gogooku3.training.statistics import EpochStatistics
from gogooku3.training.team import Team
from gogooku3.training.trainer import train

MakeConfig = Callable[..., TrainConfig]


class Run:
    """A trainer process that leads others."""

    def __init__(self, request: RunRequest, log: Path) -> None:
        read_fd, write_fd = os.pipe()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gogooku3.training.run", "--events-fd", str(write_fd)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(write_fd,),
                start_new_session=True,
            )
        os.close(write_fd)
        assert self.process.stdin is not None
        self.process.stdin.write(request.model_dump_json().encode())
        self.process.stdin.close()
        self.pipe = os.fdopen(read_fd)

    def events(self) -> list[dict[str, Any]]:
        """All that follow, to the end."""
        return [json.loads(line) for line in self.pipe]

    def until(self, kind: str) -> dict[str, Any]:
        """The next event of a kind."""
        for line in self.pipe:
            event: dict[str, Any] = json.loads(line)
            if event["type"] == kind:
                return event
        raise AssertionError(f"no {kind} before the end")

    def followers(self) -> list[psutil.Process]:
        """The processes that it started."""
        return psutil.Process(self.process.pid).children()

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.pipe.close()


@pytest.fixture
def start(tiny: Path, tmp_path: Path, make_config: MakeConfig) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def begin(config: TrainConfig, **given: Any) -> Run:
        request = RunRequest(
            config=config,
            dataset=tiny,
            **{"out_dir": tmp_path / "ranks", "ranks": 2, "cpu_threads": 2} | given,
        )
        started.append(Run(request, tmp_path / "log.txt"))
        return started[-1]

    yield begin
    for run in started:
        run.close()


def steady(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if not name.startswith("sys/")}


def test_two_ranks_give_the_result_of_one(
    start: Callable[..., Run], tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    """Each takes whole batches of a step: dropout included, all is the same. Asked to stop, they
    stop at the same step, with a state of what all of them did."""
    config = make_config(max_epochs=60, batch={"days_per_step": 4, "accumulate": 2})
    run = start(config)
    events = [run.until("start"), run.until("epoch")]
    run.process.send_signal(signal.SIGTERM)
    events += run.events()
    assert events[-1]["outcome"] == "interrupted"
    assert run.process.wait(60) == 3, (tmp_path / "log.txt").read_text()
    assert events[0]["provenance"]["ranks"] == 2
    assert [event["type"] for event in events].count("start") == 1
    point = [event for event in events if event["type"] == "resume_point"][-1]
    single = at_point(config, tiny, tmp_path / "one", (point["epoch"], point["step"]))
    state = torch.load(tmp_path / "ranks" / "resume.pt", weights_only=True)
    for name, value in state["weights"].items():
        torch.testing.assert_close(value, single["weights"][name], atol=1e-5, rtol=1e-4)
    for mine, theirs in zip(single["events"], state["events"], strict=True):
        one, other = (json.loads(line) for line in (mine, theirs))
        assert steady(other["metrics"]) == pytest.approx(
            steady(one["metrics"]), abs=1e-4, rel=1e-3, nan_ok=True
        )
    if point["step"]:
        mine, theirs = (made["statistics"] for made in (single, state))
        assert mine["samples"] == theirs["samples"]
        torch.testing.assert_close(mine["rows"]["loss"], theirs["rows"]["loss"])


def at_point(config: TrainConfig, dataset: Path, out_dir: Path, point: tuple[int, int]) -> Any:
    """The resume state of one process at (epochs, steps)."""
    found: list[Any] = []

    def listen(event: Event) -> None:
        if isinstance(event, ResumePointEvent) and (event.epoch, event.step) == point:
            found.append(torch.load(out_dir / "resume.pt", weights_only=True))

    train(
        config,
        dataset=dataset,
        out_dir=out_dir,
        on_event=listen,
        should_stop=lambda: bool(found),
        resume_interval_s=0.0,
    )
    return found[0]


@pytest.mark.parametrize("changes", [{}, {"block_days": 4}], ids=["days", "blocks"])
def test_the_days_of_a_batch_dealt_out_make_the_same_gradient(
    tiny: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, changes: dict[str, int]
) -> None:
    model = make_config().model.model_copy(update={"dropout": 0.0})
    config = make_config(batch={"days_per_step": 8} | changes, model=quiet(model))
    sums: list[list[torch.Tensor]] = []
    monkeypatch.setattr(Team, "sum_gradients", lambda team, parameters: None)
    for size in (1, 3):
        total: list[torch.Tensor] = []
        for rank in range(size):
            experiment = Experiment.open(config, tiny, "cpu", Team(rank, size))
            assert experiment.learner is not None
            statistics = EpochStatistics(experiment.steps, experiment.device)
            experiment.learner.config = config.model_copy(
                update={"optimizer": config.optimizer.model_copy(update={"clip_norm": None})}
            )
            days = list(experiment.split.train_D[:8])
            group = [days] if not changes else [days[:4], days[4:]]
            experiment.learner.step(1, 0, 0, group, statistics)
            gradients = [p.grad for p in experiment.model.parameters() if p.grad is not None]
            total = [a + b for a, b in zip(total, gradients, strict=True)] if total else gradients
        sums.append(total)
    for alone, together in zip(*sums, strict=True):
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def quiet(model: Any) -> dict[str, Any]:
    """The model's configuration without any dropout."""
    given: dict[str, Any] = model.model_dump(mode="json")
    given["gat"]["dropout"] = 0.0
    return given


def test_no_rank_outlives_the_leader(start: Callable[..., Run], make_config: MakeConfig) -> None:
    run = start(make_config(max_epochs=500))
    run.until("epoch")
    followers = run.followers()
    assert len(followers) == 1
    run.process.kill()
    _, alive = psutil.wait_procs(followers, timeout=30)
    assert not alive


def test_a_rank_that_is_killed_ends_the_run_with_its_name(
    start: Callable[..., Run], make_config: MakeConfig
) -> None:
    run = start(make_config(max_epochs=500))
    run.until("epoch")
    run.followers()[0].kill()
    failure = run.events()[-1]
    assert (failure["type"], failure["code"]) == ("failure", "rank-lost")
    assert failure["failure_class"] == "killed"
    assert "process 1" in failure["message"]
    assert run.process.wait(60) == 4


def test_a_model_that_is_fitted_at_once_needs_no_others(
    start: Callable[..., Run], make_config: MakeConfig
) -> None:
    run = start(make_config(model={"kind": "linear"}))
    events = run.events()
    assert run.process.wait() == 0
    assert events[0]["provenance"]["ranks"] == 1


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("batches", [[[1, 2, 3, 4, 5]], [[1, 2], [3], [4, 5, 6]], [[1]]])
def test_every_day_of_a_step_is_one_rank_s(
    size: int, batches: list[list[int]], whole: bool
) -> None:
    found: list[tuple[int, int]] = []
    for rank in range(size):
        parts = Team(rank, size).share(batches, whole)
        assert all(len(days) for _, days in parts)
        found += [(number, day) for number, days in parts for day in days]
    assert sorted(found) == [(n, day) for n, days in enumerate(batches) for day in days]
