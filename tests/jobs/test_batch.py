"""Jobs that are stored together are stored as each would be by itself, or left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.api.answers import JobAnswer
from app.db import AuditEntry, Base, Database, Job
from app.db.trail import Trail
from app.domain import Scope
from app.jobs import datasets, keys, read
from app.jobs.batch import Submission, submit_batch
from app.jobs.submit import submit_build
from gogooku3.config import DatasetSpec, JobSpec
from gogooku3.data.header import DatasetHeader

OWN = {"id", "spec", "place", "created_at", "queued_at", "updated_at", "request_id"}
COLUMNS = list(Base.metadata.tables["jobs"].columns.keys())
GIVEN: dict[str, Any] = {
    "dataset": "jp",
    "labels": {"team": "r\u00e9d"},
    "note": "why",
    "priority": 7,
    "config": {"data": {"split": {"train_end": "2020-06-30", "valid_end": "2020-09-30"}}},
}


@pytest.fixture
def submission(header: DatasetHeader) -> Callable[..., Submission]:
    """A job to be stored with others."""

    def make(number: int = 1, api_key_id: str | None = None, **changes: Any) -> Submission:
        given = GIVEN | changes
        trail = Trail(f"req_{number}", "10.0.0.1", actor=api_key_id or "open", action="POST /jobs")
        return Submission(JobSpec.model_validate(given), given, header, api_key_id, trail)

    return make


def columns(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in COLUMNS}


def test_a_row_is_what_it_would_be_by_itself(
    database: Database,
    submission: Callable[..., Submission],
    submit_job: Callable[..., str],
    get: Callable[[str], Job],
) -> None:
    asked = [submission(1, name="one"), submission(2, name="two", note=None)]
    with database.session() as session:
        made = submit_batch(session, asked)
    alone = [columns(get(submit_job(**one.given))) for one in asked]
    for one, other in zip(asked, alone, strict=True):
        together = columns(get(made[one]["id"]))
        assert {k: v for k, v in together.items() if k not in OWN} == {
            k: v for k, v in other.items() if k not in OWN
        }
        assert together["spec"] == one.given
        assert together["request_id"] == one.trail.request_id
        shown = set(JobAnswer.model_fields)
        answered = {name: value for name, value in made[one].items() if name in shown}
        assert answered == {name: value for name, value in together.items() if name in shown}


def test_each_has_its_event_and_its_line_in_the_audit_log(
    database: Database, submission: Callable[..., Submission]
) -> None:
    asked = [submission(number) for number in range(3)]
    with database.session() as session:
        made = submit_batch(session, asked)
    with database.session() as session:
        for one in asked:
            job_id = made[one]["id"]
            [event] = read.events_after(session, job_id)
            assert (event.seq, event.type, event.payload) == (1, "state", {"state": "queued"})
            [entry] = session.scalars(select(AuditEntry).where(AuditEntry.target == job_id))
            assert (entry.actor, entry.action, entry.created) == ("open", "POST /jobs", [job_id])
            assert (entry.request_id, entry.address) == (one.trail.request_id, "10.0.0.1")


def test_a_dataset_that_is_changed_or_built_or_gone_is_left_out(
    database: Database, submission: Callable[..., Submission], caches: Path
) -> None:
    asked = [submission()]
    with database.session() as other:
        datasets.own(other, "jp")
        with database.session() as session:
            assert submit_batch(session, asked) == {}, "it does not wait for the other"
    with database.session() as session:
        assert len(submit_batch(session, asked)) == 1
    given = {"name": "us", "source": {"kind": "synth"}}
    with database.session() as session:
        submit_build(session, DatasetSpec.model_validate(given), given=given, caches=caches)
    with database.session() as session:
        both = [submission(dataset="us"), submission()]
        assert list(submit_batch(session, both)) == [both[1]]
    (caches / "jp.arrow").unlink()
    with database.session() as session:
        assert submit_batch(session, asked) == {}


def test_a_key_with_a_limit_is_left_out(
    database: Database, submission: Callable[..., Submission]
) -> None:
    with database.session() as session:
        full, _ = keys.create(session, "full", Scope.SUBMIT, max_queued=9)
        free, _ = keys.create(session, "free", Scope.SUBMIT)
    asked = [submission(api_key_id=key) for key in (full.id, free.id, "key_unknown")]
    with database.session() as session:
        assert list(submit_batch(session, asked)) == [asked[1]]
