"""A dataset is not taken away from under a job, whatever happens at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.db import Database
from app.domain import DatasetInUseError, InvalidSpecError
from app.jobs.cancel import cancel
from app.jobs.datasets import delete_dataset
from app.jobs.submit import submit
from gogooku3.config import JobSpec
from gogooku3.data.header import DatasetHeader
from gogooku3.errors import DatasetNotFoundError

SPEC = {
    "dataset": "jp",
    "config": {"data": {"split": {"train_end": "2020-06-30", "valid_end": "2020-09-30"}}},
}


def delete(database: Database, caches: Path, name: str = "jp") -> None:
    with database.session() as session:
        delete_dataset(session, caches, name)


def test_the_file_and_its_graphs_go(database: Database, caches: Path) -> None:
    (caches / "jp.graphs").mkdir()
    (caches / "jp.graphs" / "2020-01-06.arrow").touch()
    (caches / "jp2.arrow").touch()
    (caches / "jp2.graphs").mkdir()
    delete(database, caches)
    assert sorted(path.name for path in caches.iterdir()) == ["jp2.arrow", "jp2.graphs"]


def test_what_is_not_there_is_said_to_be_missing(database: Database, caches: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no dataset 'us'"):
        delete(database, caches, "us")


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_dataset_in_use_stays(
    database: Database,
    caches: Path,
    submit_job: Callable[..., str],
    take: Callable[..., object],
    state: str,
) -> None:
    job_id = submit_job()
    if state == "running":
        take()
    with pytest.raises(DatasetInUseError, match=job_id):
        delete(database, caches)
    assert (caches / "jp.arrow").exists()


def test_finished_jobs_do_not_use_it(
    database: Database, caches: Path, submit_job: Callable[..., str]
) -> None:
    job_id = submit_job()
    with database.session() as session:
        cancel(session, job_id)
    delete(database, caches)
    assert not (caches / "jp.arrow").exists()


def test_many_jobs_are_counted(
    database: Database, caches: Path, submit_job: Callable[..., str]
) -> None:
    jobs = [submit_job() for _ in range(7)]
    with pytest.raises(DatasetInUseError) as raised:
        delete(database, caches)
    assert jobs[0] in str(raised.value)
    assert str(raised.value).endswith("and 2 more")


def test_a_job_for_a_dataset_that_has_just_gone_is_refused(
    database: Database, caches: Path, submit_job: Callable[..., str]
) -> None:
    delete(database, caches)
    with pytest.raises(InvalidSpecError) as raised:
        submit_job()
    assert [(p.pointer, p.code) for p in raised.value.problems] == [("/dataset", "unknown-dataset")]


def test_delete_waits_for_a_submit_under_way(
    database: Database, caches: Path, header: DatasetHeader
) -> None:
    spec = JobSpec.model_validate(SPEC)
    with ThreadPoolExecutor(1) as pool:
        with database.session() as session:
            job_id = submit(session, spec, given=SPEC, header=header).id
            waiting = pool.submit(delete, database, caches)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
        with pytest.raises(DatasetInUseError, match=job_id):
            waiting.result(timeout=10)
    assert (caches / "jp.arrow").exists()


def test_at_the_same_moment_either_the_job_or_the_delete_wins(
    database: Database, caches: Path, submit_job: Callable[..., str]
) -> None:
    outcomes = set()
    for _ in range(20):
        (caches / "jp.arrow").touch()
        with ThreadPoolExecutor(2) as pool:
            submitted, deleted = pool.submit(submit_job), pool.submit(delete, database, caches)
        faults = (submitted.exception(), deleted.exception())
        if faults[0] is None:
            assert isinstance(faults[1], DatasetInUseError)
            assert (caches / "jp.arrow").exists()
            with database.session() as session:
                cancel(session, submitted.result())
        else:
            assert isinstance(faults[0], InvalidSpecError)
            assert faults[1] is None
        outcomes.add(faults[0] is None)
    assert outcomes
