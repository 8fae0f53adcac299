"""Artifacts in an object store: every machine sees them, nothing is told before it is there."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from app.artifacts import (
    Artifacts,
    MissingFileError,
    SharedArtifacts,
    StoreAwayError,
    artifacts_of,
)
from app.domain import JobState
from app.jobs.cancel import cancel
from app.jobs.doctor import examine
from app.jobs.retention import Retention, prune
from app.settings import Settings
from worker.remains import sweep_copies

URL = "s3://models/team"


def keys(bucket: Any) -> set[str]:
    """What is in the bucket."""
    return {found.key.removeprefix("team/") for found in bucket.objects.all()}


def write(artifacts: Artifacts, path: str, content: bytes) -> None:
    local = artifacts.folder / path
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(content)


def test_files_go_to_the_store_and_come_from_there(bucket: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000  # more than one piece
    here, there = SharedArtifacts(tmp_path / "a", URL), SharedArtifacts(tmp_path / "b", URL)
    write(here, "job_1/attempt-1/x.gk3", content)
    here.publish("job_1/attempt-1/x.gk3")
    assert keys(bucket) == {"job_1/attempt-1/x.gk3"}
    file = there.open("job_1/attempt-1/x.gk3")
    assert file.size == len(content)
    assert file.read_at(9_000_000, 1000) == content[9_000_000:9_001_000]
    assert file.read_at(len(content) - 3, 10) == content[-3:]
    assert file.read_at(len(content), 10) == b""
    with file.stream() as stream:
        assert stream.read() == content
        assert stream.seek(-10, 2) == len(content) - 10
        assert stream.read() == content[-10:]
    assert there.fetch("job_1/attempt-1/x.gk3")
    assert (tmp_path / "b" / "job_1/attempt-1/x.gk3").read_bytes() == content
    assert [path.name for path in (tmp_path / "b").rglob("*") if path.is_file()] == ["x.gk3"]
    assert there.names("job_1") == ["job_1/attempt-1/x.gk3"]
    before = file.version
    write(here, "job_1/attempt-1/x.gk3", b"other")
    here.publish("job_1/attempt-1/x.gk3")
    assert there.open("job_1/attempt-1/x.gk3").version != before
    there.remove("job_1/attempt-1/x.gk3")
    for path in ("job_1/attempt-1/x.gk3", "job_1/../../other/x", "/etc/passwd", ""):
        with pytest.raises(MissingFileError):
            here.open(path)
    assert there.size("job_1/attempt-1/x.gk3") is None
    assert not there.fetch("job_1/attempt-1/x.gk3")
    with pytest.raises(MissingFileError):
        there.remove("job_1/attempt-1/x.gk3")
    assert here.trouble() is None
    assert keys(bucket) == set(), "the probe leaves nothing"


def test_settings_say_where(bucket: Any, tmp_path: Path) -> None:
    assert artifacts_of(Settings(home=tmp_path)).folder == tmp_path / "artifacts"
    elsewhere = Settings(home=tmp_path, artifacts_url=f"file://{tmp_path}/share")
    assert artifacts_of(elsewhere).folder == tmp_path / "share"
    assert not artifacts_of(elsewhere).is_shared
    assert artifacts_of(Settings(home=tmp_path, artifacts_url=URL)).is_shared
    for wrong in ("ftp://x/y", "/var/x", "s3://", "file://relative"):
        with pytest.raises(ValueError, match="file:///PATH"):
            Settings(home=tmp_path, artifacts_url=wrong)


def test_store_that_is_away_is_said_to_be(bucket: Any, tmp_path: Path) -> None:
    away = SharedArtifacts(tmp_path, "s3://no-such-bucket")
    write(away, "job_1/log.txt", b"x")
    with pytest.raises(StoreAwayError, match=r"job_1/log\.txt"):
        away.publish("job_1/log.txt")
    assert "no-such-bucket" in str(away.trouble())


def provenance(bench: Any, job_id: str) -> list[Any]:
    return ["start", {"dataset": {"fingerprint": bench.job(job_id).dataset_fingerprint}}]


def on(bench: Any, machine: str, script: list[list[Any]]) -> Any:
    """The workplace of another machine: it shares the datasets and the store, nothing else."""
    place = bench.place(script)
    artifacts = SharedArtifacts(bench.home / machine, URL)
    return type(place)(**{**vars(place), "artifacts": artifacts})


def test_a_job_goes_on_on_another_machine(bench: Any, bucket: Any) -> None:
    job_id = bench.submit(epochs=2, limits={"max_attempts": 2})
    first = [
        provenance(bench, job_id),
        ["print", "on the first machine"],
        ["epoch", 1],
        ["checkpoint", 1],
        ["resume_point", 1],
        ["signal", 9],
    ]
    bench.supervisor(on(bench, "one", first)).run()
    assert bench.job(job_id).state is JobState.QUEUED
    assert keys(bucket) == {
        f"{job_id}/log.txt",
        f"{job_id}/attempt-1/epoch-0001.gk3",
        f"{job_id}/attempt-1/resume.pt",
    }
    assert list((bench.home / "one").rglob("*.*")) == [], "nothing stays on the machine"
    bench.make_ready()
    second = [provenance(bench, job_id), ["epoch", 2], ["end", "completed"], ["exit", 0]]
    bench.supervisor(on(bench, "two", second)).run()
    job = bench.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert bench.epochs(job_id) == [1, 2]
    request = job.provenance["request"]
    assert request["resume"] == str(bench.home / "two" / job_id / "attempt-1" / "resume.pt")
    assert job.provenance["secrets"] == [], "a trainer has no key to the store"
    reader = SharedArtifacts(bench.home / "three", URL)
    log = reader.open(f"{job_id}/log.txt").stream().read().decode()
    assert "on the first machine" in log
    assert "attempt 2 ended, succeeded" in log


def test_nothing_is_told_before_it_is_in_the_store(
    bench: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.courier.RETRY_S", 0.1)
    is_back = threading.Event()
    publish = SharedArtifacts.publish

    def fail_at_first(self: SharedArtifacts, path: str) -> None:
        if not is_back.is_set():
            raise StoreAwayError("away")
        publish(self, path)

    monkeypatch.setattr(SharedArtifacts, "publish", fail_at_first)
    job_id = bench.submit(epochs=1)
    script = [
        provenance(bench, job_id),
        ["epoch", 1],
        ["checkpoint", 1],
        ["resume_point", 1],
        ["end", "completed"],
        ["exit", 0],
    ]
    supervisor = bench.supervisor(on(bench, "one", script))
    running = threading.Thread(target=supervisor.run)
    running.start()
    bench.wait(lambda: bench.epochs(job_id) == [1])
    lease = bench.job(job_id).lease_until
    bench.wait(lambda: bench.job(job_id).lease_until > lease)
    assert bench.checkpoints(job_id) == [], "the file is nowhere yet"
    assert bench.job(job_id).state is JobState.RUNNING
    is_back.set()
    running.join(60)
    assert bench.job(job_id).state is JobState.SUCCEEDED
    (checkpoint,) = bench.checkpoints(job_id)
    assert SharedArtifacts(bench.home, URL).size(checkpoint.path) == checkpoint.size


def test_store_that_stays_away_costs_an_attempt_and_says_so(
    bench: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.recorder.STORE_PATIENCE_S", 0.5)
    bucket_gone = SharedArtifacts(bench.home / "one", "s3://no-such-bucket")
    job_id = bench.submit(epochs=1, limits={"max_attempts": 1})
    script = [provenance(bench, job_id), ["checkpoint", 1], ["end", "completed"], ["exit", 0]]
    place = bench.place(script)
    bench.supervisor(type(place)(**{**vars(place), "artifacts": bucket_gone})).run()
    job = bench.job(job_id)
    assert job.state is JobState.FAILED
    assert (job.reason["class"], job.reason["code"]) == ("infra", "artifacts-away")
    assert bench.checkpoints(job_id) == []


def test_what_a_kill_leaves_is_found_and_removed(bench: Any, bucket: Any) -> None:
    """Killed between the upload and the record: the object is there, and nobody knows of it."""
    job_id = bench.submit(epochs=1, limits={"max_attempts": 1})
    place = on(bench, "one", [])
    place = type(place)(**{**vars(place), "trainer": bench.place([["exit", 3]]).trainer})
    bench.supervisor(place).run()
    artifacts = place.artifacts
    orphan = f"{job_id}/attempt-1/epoch-0001.gk3"
    write(artifacts, orphan, b"1")
    artifacts.publish(orphan)
    with bench.database.session() as session:
        assert examine(session, artifacts) == []
        bench.age(session, job_id, days=3)
    policy = Retention(orphans_days=2)
    told = [(one.what, one.name) for one in prune(bench.database, artifacts, policy, dry_run=True)]
    assert told == [("orphan", "epoch-0001.gk3")]
    assert orphan in keys(bucket)
    assert len(list(prune(bench.database, artifacts, policy, dry_run=False))) == 1
    assert keys(bucket) == {f"{job_id}/log.txt"}
    assert sweep_copies(bench.database, artifacts) == [], "it is young"
    assert sweep_copies(bench.database, artifacts, old_s=-1.0) == [job_id]
    assert not (artifacts.folder / job_id).exists()


def test_cancelled_job_leaves_its_files_in_the_store(bench: Any, bucket: Any) -> None:
    job_id = bench.submit(epochs=2)
    script = [
        provenance(bench, job_id),
        ["epoch", 1],
        ["wait_term"],
        ["resume_point", 1],
        ["end", "interrupted"],
        ["exit", 3],
    ]
    supervisor = bench.supervisor(on(bench, "one", script))
    running = threading.Thread(target=supervisor.run)
    running.start()
    bench.wait(lambda: bench.epochs(job_id) == [1])
    with bench.database.session() as session:
        cancel(session, job_id)
    running.join(60)
    assert bench.job(job_id).state is JobState.CANCELLED
    assert f"{job_id}/attempt-1/resume.pt" in keys(bucket)


def test_growing_log_is_seen_while_the_job_runs(
    bench: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.courier.LOG_S", 0.1)
    job_id = bench.submit(epochs=1)
    script = [provenance(bench, job_id), ["print", "hello"], ["wait_term"], ["exit", 3]]
    supervisor = bench.supervisor(on(bench, "one", script))
    running = threading.Thread(target=supervisor.run)
    running.start()
    reader = SharedArtifacts(bench.home, URL)

    def log() -> bytes:
        try:
            return reader.open(f"{job_id}/log.txt").stream().read()
        except MissingFileError:
            return b""

    deadline = time.monotonic() + 60
    while b"hello" not in log():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with bench.database.session() as session:
        cancel(session, job_id)
    running.join(60)
