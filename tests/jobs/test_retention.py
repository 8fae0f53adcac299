"""What old jobs left behind goes as the policy says, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from app.artifacts import Artifacts
from app.db import Checkpoint, Database, Job
from app.domain import JobState
from app.jobs import retry as retry_module
from app.jobs.append import append
from app.jobs.claim import Claim
from app.jobs.doctor import examine
from app.jobs.finish import finish
from app.jobs.lock import lock_job
from app.jobs.outcome import Outcome
from app.jobs.retention import Pruned, Retention, prune
from gogooku3.data.header import DatasetHeader

EVERYTHING = Retention(
    progress_days=30, logs_days=30, resume_days=30, checkpoints_days=30, audit_days=30
)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return folder


@pytest.fixture
def left(
    database: Database, submit_job: Callable[..., str], take: Callable[..., Claim], artifacts: Path
) -> Callable[..., str]:
    """A job that ran, with a log, a resume state and three checkpoints, the first of them best."""

    def leave(*, ended_days_ago: int | None, outcome: Outcome = Outcome.SUCCEEDED) -> str:
        submit_job()
        held = take()
        folder = artifacts / held.job_id / "attempt-1"
        folder.mkdir(parents=True)
        (folder.parent / "log.txt").write_text("x" * 10)
        (folder / "resume.pt").write_bytes(b"x" * 20)
        with database.session() as session:
            for epoch in (1, 2, 3):
                name = f"{held.job_id}/attempt-1/epoch-{epoch:04d}.gk3"
                (artifacts / name).write_bytes(b"x" * 30)
                session.add(
                    Checkpoint(
                        id=f"ckp_{held.job_id[4:]}{epoch}",
                        job_id=held.job_id,
                        attempt=1,
                        epoch=epoch,
                        path=name,
                        size=30,
                        sha256="s",
                        metrics={},
                        is_best=epoch == 1,
                    )
                )
            for step in range(5):
                append(session, lock_job(session, held.job_id), "progress", {"step": step})
        if ended_days_ago is not None:
            with database.session() as session:
                finish(session, held.job_id, held.attempt, outcome=outcome)
                session.flush()
                session.execute(
                    text(
                        "UPDATE jobs SET finished_at = now() - make_interval(days => :days) "
                        "WHERE id = :id"
                    ),
                    {"days": ended_days_ago, "id": held.job_id},
                )
        return held.job_id

    return leave


def run(
    database: Database, artifacts: Path, policy: Retention, *, dry_run: bool = False
) -> set[tuple[str, str | None, str]]:
    found: list[Pruned] = list(prune(database, Artifacts(artifacts), policy, dry_run=dry_run))
    return {(one.what, one.job_id, one.name) for one in found}


def files(artifacts: Path) -> set[str]:
    return {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}


def types(database: Database, job_id: str) -> list[str]:
    with database.session() as session:
        statement = text("SELECT type FROM events WHERE job_id = :id ORDER BY seq")
        return list(session.scalars(statement, {"id": job_id}))


def test_old_goes_young_and_live_stay(
    database: Database, artifacts: Path, left: Callable[..., str]
) -> None:
    old, young, live = left(ended_days_ago=31), left(ended_days_ago=29), left(ended_days_ago=None)
    before = files(artifacts)
    told = run(database, artifacts, EVERYTHING, dry_run=True)
    assert files(artifacts) == before, "a dry run removes nothing"
    assert types(database, old).count("progress") == 5
    done = run(database, artifacts, EVERYTHING)
    assert done == told, "and tells what the real one does"
    assert before - files(artifacts) == {
        f"{old}/log.txt",
        f"{old}/attempt-1/resume.pt",
        # Neither the best (the first) nor the last.
        f"{old}/attempt-1/epoch-0002.gk3",
    }
    assert "progress" not in types(database, old)
    assert types(database, old)[0] == types(database, old)[-1] == "state"
    for kept in (young, live):
        assert types(database, kept).count("progress") == 5
    assert run(database, artifacts, EVERYTHING) == set(), "once is enough"


def test_best_goes_only_when_asked_for(
    database: Database, artifacts: Path, left: Callable[..., str]
) -> None:
    old = left(ended_days_ago=100)
    policy = Retention(checkpoints_days=1, best_too=True)
    assert len(run(database, artifacts, policy)) == 3
    assert files(artifacts) == {f"{old}/log.txt", f"{old}/attempt-1/resume.pt"}


def test_nothing_is_removed_by_default(
    database: Database, artifacts: Path, left: Callable[..., str]
) -> None:
    left(ended_days_ago=10_000)
    before = files(artifacts)
    assert run(database, artifacts, Retention()) == set()
    assert files(artifacts) == before


def test_a_link_is_removed_not_followed(
    database: Database, artifacts: Path, left: Callable[..., str], tmp_path: Path
) -> None:
    old = left(ended_days_ago=100)
    precious = tmp_path / "precious"
    precious.write_text("x")
    log = artifacts / old / "log.txt"
    log.unlink()
    log.symlink_to(precious)
    run(database, artifacts, EVERYTHING)
    assert precious.exists()
    assert not log.is_symlink()


class Watched(Artifacts):
    """Does something before it removes a file."""

    def __init__(self, folder: Path, act: Callable[[str], None]) -> None:
        super().__init__(folder)
        self._act = act

    def names(self, job_id: str) -> list[str]:
        self._act(job_id)
        return super().names(job_id)

    def remove(self, path: str) -> None:
        self._act(path)
        super().remove(path)


@pytest.fixture
def retrying(
    database: Database, caches: Path, header: DatasetHeader, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Retry a job, with the dataset as `header` says it is."""
    monkeypatch.setattr(retry_module, "read_header", lambda _path: header)

    def retry_one(job_id: str) -> None:
        with database.session() as session:
            retry_module.retry(session, job_id, caches=caches)

    return retry_one


def test_no_transaction_waits_for_a_store(
    database: Database, artifacts: Path, left: Callable[..., str]
) -> None:
    old = left(ended_days_ago=31)
    looked: list[str] = []
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in transaction%'"
    )

    def look(path: str) -> None:
        with database.reading() as session:
            assert session.scalar(waiting) == 0
        looked.append(path)

    assert list(prune(database, Watched(artifacts, look), EVERYTHING, dry_run=False))
    assert {old, f"{old}/attempt-1/resume.pt"} <= set(looked)
    with database.reading() as session:
        assert (
            session.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")) == 0
        )


def test_retry_waits_until_what_it_could_go_on_from_is_there_or_gone(
    database: Database,
    artifacts: Path,
    left: Callable[..., str],
    retrying: Callable[[str], None],
    get: Callable[[str], Job],
) -> None:
    old = left(ended_days_ago=31, outcome=Outcome.CANCELLED)
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with ThreadPoolExecutor(1) as pool:
        retried: list[Future[None]] = []

        def begin_retry(path: str) -> None:
            if path.endswith(".pt"):
                retried.append(pool.submit(retrying, old))
                deadline = time.monotonic() + 10
                with database.reading() as session:
                    while not session.scalar(waiting):
                        assert time.monotonic() < deadline, "it does not wait"

        policy = Retention(resume_days=30)
        assert list(prune(database, Watched(artifacts, begin_retry), policy, dry_run=False))
        retried[0].result()
    assert get(old).state is JobState.QUEUED
    assert f"{old}/attempt-1/resume.pt" not in files(artifacts)


def test_job_that_is_retried_while_others_are_pruned_keeps_everything(
    database: Database,
    artifacts: Path,
    left: Callable[..., str],
    retrying: Callable[[str], None],
) -> None:
    first, second = sorted(left(ended_days_ago=31, outcome=Outcome.CANCELLED) for _ in "ab")
    of_second = {path for path in files(artifacts) if path.startswith(second)}
    retried: list[str] = []

    def retry_second(path: str) -> None:
        if path.startswith(first) and not retried:
            retried.append(second)
            retrying(second)

    watched = Watched(artifacts, retry_second)
    removed = list(prune(database, watched, Retention(resume_days=30), dry_run=False))
    assert {one.job_id for one in removed} == {first}
    assert of_second <= files(artifacts)


def test_doctor_finds_what_is_wrong(
    database: Database, artifacts: Path, left: Callable[..., str]
) -> None:
    one, other = left(ended_days_ago=1), left(ended_days_ago=None)
    with database.session() as session:
        assert examine(session, Artifacts(artifacts)) == []
        (artifacts / one / "attempt-1" / "epoch-0001.gk3").unlink()
        (artifacts / other / "attempt-1" / "epoch-0001.gk3").write_bytes(b"short")
        session.execute(text("UPDATE jobs SET last_seq = last_seq + 1 WHERE id = :id"), {"id": one})
        session.execute(
            text("UPDATE jobs SET lease_until = now() - interval '1 h' WHERE id = :id"),
            {"id": other},
        )
        found = {finding.check: finding.what for finding in examine(session, Artifacts(artifacts))}
        session.rollback()
    assert set(found) == {
        "checkpoints without a file",
        "checkpoints of another size",
        "records with gaps",
        "lost leases",
    }
    assert one in found["records with gaps"]
