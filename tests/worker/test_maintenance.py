"""What a worker does beside its jobs: heartbeat, expired leases, jobs nobody rang for."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis
from sqlalchemy import text

from app.broker.wake import STREAM
from app.db import Worker
from app.domain import JobState
from app.jobs.cancel import cancel
from worker.devices import make_slots
from worker.host import Host
from worker.maintenance import Maintenance
from worker.slots import Slots

END = [["epoch", 1], ["end", "completed"], ["exit", 0]]


@pytest.fixture
def host(bench: Any) -> Host:
    return Host(bench.place(END), Slots(make_slots(2, [])))


def row(bench: Any, host: Host) -> Worker:
    with bench.database.session() as session:
        found = session.get(Worker, host.worker_id)
        assert found is not None
        return found


def test_the_first_round_takes_back_and_runs_what_waits(bench: Any, host: Host) -> None:
    lost, waiting = bench.submit(), bench.submit()
    bench.supervisor(bench.place(END))  # claims the first, and never runs it
    with bench.database.session() as session:
        session.execute(text("UPDATE jobs SET lease_until = now() WHERE state = 'running'"))
    maintenance = Maintenance(host, poll_s=0.2)
    maintenance.start()
    try:
        bench.wait_state(waiting, JobState.SUCCEEDED)
        bench.wait_state(lost, JobState.SUCCEEDED)
    finally:
        maintenance.end()
    assert [attempt.outcome for attempt in bench.attempts(lost)] == ["lost", "succeeded"]
    with redis.Redis.from_url(bench.redis_url, decode_responses=True) as client:
        assert {fields["job"] for _, fields in client.xrange(STREAM)} == {lost, waiting}


def test_the_heartbeat_tells_what_runs(bench: Any, host: Host) -> None:
    before = row(bench, host).heartbeat_at
    slots = host.slots.take((0,), "job_x", 1)
    host.beat()
    after = row(bench, host)
    assert after.heartbeat_at > before
    assert after.current == [{"job_id": "job_x", "attempt": 1, "slot": 0, "slots": [0]}]
    host.slots.give_back(slots)
    host.leave()
    assert row(bench, host).stopped_at is not None


def test_a_worker_whose_row_is_gone_registers_again(bench: Any, host: Host) -> None:
    first = host.worker_id
    with bench.database.session() as session:
        session.delete(session.get(Worker, first))
    host.beat()
    assert host.worker_id != first
    assert row(bench, host).slots == 2


def test_a_stopping_worker_takes_no_job(bench: Any, host: Host) -> None:
    job_id = bench.submit()
    bench.stopping.set()
    host.look()
    host.work()
    host.leave()
    assert bench.job(job_id).state is JobState.QUEUED


def test_no_free_slot_takes_no_job(bench: Any, host: Host) -> None:
    job_id = bench.submit()
    taken = host.slots.take((0, 1), "job_x", 1)
    assert len(taken) == 2
    host.work()
    host.look()
    host.leave()
    assert bench.job(job_id).state is JobState.QUEUED


def test_one_failing_duty_does_not_stop_the_others(
    bench: Any, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(host, "reap", fail)
    job_id = bench.submit()
    maintenance = Maintenance(host, poll_s=0.2)
    maintenance.start()
    try:
        bench.wait_state(job_id, JobState.SUCCEEDED)
    finally:
        maintenance.end()
        host.leave()


def test_a_sweep_that_takes_its_time_holds_up_neither_heartbeat_nor_reaping(
    bench: Any, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    thinks, decided = threading.Event(), threading.Event()

    def think() -> None:
        thinks.set()
        decided.wait()

    monkeypatch.setattr(host, "advance_sweeps", think)
    maintenance = Maintenance(host, poll_s=0.05)
    maintenance.start()
    try:
        assert thinks.wait(30)
        before = row(bench, host).heartbeat_at
        lost = bench.submit()
        bench.supervisor(bench.place(END))  # claims it, and never runs it
        with bench.database.session() as session:
            session.execute(text("UPDATE jobs SET lease_until = now() WHERE state = 'running'"))
        bench.wait_state(lost, JobState.QUEUED, timeout_s=30.0)
        bench.wait(lambda: row(bench, host).heartbeat_at > before, timeout_s=30.0)
    finally:
        decided.set()
        maintenance.end()
        host.leave()


def test_a_job_of_two_gpus_has_them_to_itself(bench: Any) -> None:
    """While it runs, a job of one GPU waits and one without a GPU does not."""
    large, small, plain = (bench.submit(resources={"gpus": n}) for n in (2, 1, 0))
    start = ["start", {"dataset": {"fingerprint": bench.job(large).dataset_fingerprint}}]
    script = [start, ["wait_term"], ["end", "interrupted"], ["exit", 3]]
    host = Host(bench.place(script), Slots(make_slots(3, ["GPU-a", "GPU-b"])))
    maintenance = Maintenance(host, poll_s=0.2)
    maintenance.start()
    try:
        bench.wait(lambda: bench.job(large).provenance and bench.job(plain).provenance)
        assert bench.job(large).provenance["cuda"] == "GPU-a,GPU-b"
        assert bench.job(plain).provenance["cuda"] == ""
        assert bench.job(small).state is JobState.QUEUED
        assert [run["slots"] for run in row(bench, host).current] in ([[0, 1], [2]], [])
        with bench.database.session() as session:
            cancel(session, large)
        bench.wait(lambda: bench.job(small).provenance)
        assert bench.job(small).provenance["cuda"] in {"GPU-a", "GPU-b"}
    finally:
        bench.stopping.set()
        maintenance.end()
        host.leave()
    assert bench.job(large).state is JobState.CANCELLED
    assert bench.attempts(large)[0].slots == [0, 1]
