"""Slots: who gets a GPU, and no slot is given away twice."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from app.jobs.offer import Offer
from worker.devices import Slot, find_gpus, make_slots
from worker.slots import Slots


def pretend_torch(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: {"torch": version}[name])


def test_gpus_are_those_the_process_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_torch(monkeypatch, "2.13.0+cu130")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert find_gpus() == ["2", "GPU-abc"]
    for nothing in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        assert find_gpus() == []


def test_a_cpu_build_of_torch_has_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_torch(monkeypatch, "2.13.0+cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert find_gpus() == []


@pytest.mark.parametrize(("program", "found"), [("echo GPU-1; echo GPU-2", 2), ("exit 9", 0)])
def test_gpus_are_asked_of_the_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, found: int
) -> None:
    pretend_torch(monkeypatch, "2.13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\n{program}\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus() == ["GPU-1", "GPU-2"][:found]


def test_the_first_slots_get_the_gpus() -> None:
    assert make_slots(3, ["GPU-1"]) == [Slot(0, "GPU-1"), Slot(1, None), Slot(2, None)]


@pytest.mark.parametrize(("gpus", "slots"), [([], 1), (["0"], 1), (["0", "1", "2"], 3)])
def test_without_a_count_each_gpu_has_a_slot(gpus: list[str], slots: int) -> None:
    made = make_slots(None, gpus)
    assert [slot.gpu for slot in made] == (gpus or [None])
    assert len(made) == slots


def test_the_offer_tells_gpu_slots_from_others() -> None:
    slots = Slots(make_slots(4, ["GPU-a", "GPU-b"]))
    assert slots.offer() == Offer(cpu=[2, 3], gpu=[0, 1], gpus=2)
    taken = slots.take((0, 2), "job_1", 1)
    assert taken == (Slot(0, "GPU-a"), Slot(2, None))
    assert slots.offer() == Offer(cpu=[3], gpu=[1], gpus=2)
    with pytest.raises(AssertionError, match="not all free"):
        slots.take((0,), "job_2", 1)
    slots.give_back(taken)
    assert slots.offer() == Offer(cpu=[2, 3], gpu=[0, 1], gpus=2)


def test_a_worker_with_nothing_but_gpus_lends_them() -> None:
    """A build of a dataset must run somewhere."""
    assert Slots(make_slots(1, ["GPU-a"])).offer() == Offer(cpu=[0], gpu=[0], gpus=1)


def test_what_runs_is_told_until_the_slots_are_given_back() -> None:
    slots = Slots(make_slots(3, ["GPU-a", "GPU-b"]))
    taken = slots.take((0, 1), "job_1", 3)
    assert slots.current() == [{"job_id": "job_1", "attempt": 3, "slot": 0, "slots": [0, 1]}]
    slots.give_back(taken)
    assert slots.current() == []
