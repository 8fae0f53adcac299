"""A build becomes a dataset once, whole, and only while nobody needs the one that it replaces."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.db import Database, Job
from app.domain import DatasetExistsError, DatasetInUseError, JobState, StaleLeaseError
from app.jobs import read
from app.jobs.builds import builder_of, publish, staging_folder, sweep_staging
from app.jobs.cancel import cancel
from app.jobs.claim import Claim
from app.jobs.datasets import delete_dataset
from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.jobs.record import record
from app.jobs.submit import submit_build
from gogooku3.config import DatasetConfig, DatasetSpec
from gogooku3.data.build import build
from gogooku3.data.header import DatasetHeader
from gogooku3.data.synth import synthesise
from gogooku3.errors import DatasetNotFoundError
from gogooku3.events import DatasetEvent, StageEvent

SPEC: dict[str, Any] = {"name": "us", "source": {"kind": "synth", "stocks": 20, "days": 150}}
SubmitBuild = Callable[..., str]


@pytest.fixture
def submit_one(database: Database, caches: Path) -> SubmitBuild:
    def submit(**changes: Any) -> str:
        given = {**SPEC, **changes}
        with database.session() as session:
            spec = DatasetSpec.model_validate(given)
            return submit_build(session, spec, given=given, caches=caches).id

    return submit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DatasetHeader:
    market = synthesise(stocks=20, days=150, horizons=(1,))
    out = tmp_path_factory.mktemp("made") / "us.arrow"
    return build(market.table, name="us", out=out, horizons=(1,))


def built(header: DatasetHeader) -> DatasetEvent:
    return DatasetEvent(
        fingerprint=header.fingerprint,
        rows=header.rows,
        stocks=header.stocks,
        days=len(header.calendar),
        features=len(header.features),
        size_bytes=header.size_bytes,
    )


def stage(caches: Path, held: Claim, header: DatasetHeader) -> Path:
    folder = staging_folder(caches, held.job_id, held.attempt)
    folder.mkdir(parents=True)
    return Path(shutil.copy(header.path, folder / "us.arrow"))


def test_a_build_is_a_queued_job_with_its_effective_configuration(
    submit_one: SubmitBuild, get: Callable[[str], Job], take: Callable[..., Claim]
) -> None:
    job_id = submit_one(labels={"team": "red"}, resources={"cpu_threads": 1})
    job = get(job_id)
    assert (job.kind, job.state, job.dataset) == ("dataset", JobState.QUEUED, "us")
    assert job.dataset_fingerprint is None
    assert job.config["horizons"] == [1, 5, 10, 20]
    assert job.config_sources["horizons"] == "default"
    assert job.config_sources["source.stocks"] == "request"
    assert set(job.config) == set(DatasetConfig.model_fields)
    claimed = take()
    assert isinstance(claimed.config, DatasetConfig)
    assert (claimed.dataset, claimed.resources.cpu_threads) == ("us", 1)


def test_a_name_that_is_taken_or_being_built_is_refused(submit_one: SubmitBuild) -> None:
    with pytest.raises(DatasetExistsError, match="replace"):
        submit_one(name="jp")
    job_id = submit_one()
    for replace in (False, True):
        with pytest.raises(DatasetInUseError, match=job_id):
            submit_one(replace=replace)


def test_a_dataset_in_use_is_not_replaced_nor_a_replaced_one_used(
    database: Database, submit_one: SubmitBuild, submit_job: Callable[..., str]
) -> None:
    training = submit_job()
    with pytest.raises(DatasetInUseError, match=training):
        submit_one(name="jp", replace=True)
    with database.session() as session:
        cancel(session, training)
    building = submit_one(name="jp", replace=True)
    with pytest.raises(DatasetInUseError, match=building):
        submit_job()


def test_published(
    database: Database,
    caches: Path,
    submit_one: SubmitBuild,
    take: Callable[..., Claim],
    get: Callable[[str], Job],
    made: DatasetHeader,
) -> None:
    job_id = submit_one()
    held = take()
    staged = stage(caches, held, made)
    with database.session() as session:
        stages = [StageEvent(stage="read", share=0.1), StageEvent(stage="written", share=1.0)]
        record(session, job_id, held.attempt, stages)
        publish(session, job_id, held.attempt, built(made), staged, caches)
        assert not staged.exists()
        publish(session, job_id, held.attempt, built(made), staged, caches)  # commit cut off
        finish(session, job_id, held.attempt, outcome=Outcome.SUCCEEDED)
    assert (caches / "us.arrow").read_bytes() == made.path.read_bytes()
    job = get(job_id)
    assert job.dataset_fingerprint == made.fingerprint
    assert job.progress == {"stage": "written", "share": 1.0, "eta_s": None}
    with database.session() as session:
        events = read.events_after(session, job_id)
        assert [e.type for e in events if e.type != "state"] == ["progress", "dataset", "dataset"]
        assert events[-2].payload["rows"] == made.rows
        assert builder_of(session, "us", made.fingerprint) == job_id
        assert builder_of(session, "us", "0" * 64) is None
        delete_dataset(session, caches, "us")


def test_an_attempt_that_lost_its_lease_publishes_nothing(
    database: Database,
    caches: Path,
    submit_one: SubmitBuild,
    take: Callable[..., Claim],
    made: DatasetHeader,
) -> None:
    job_id = submit_one()
    held = take()
    staged = stage(caches, held, made)
    with pytest.raises(StaleLeaseError), database.session() as session:
        publish(session, job_id, held.attempt + 1, built(made), staged, caches)
    assert staged.exists()
    assert not (caches / "us.arrow").exists()


def test_a_dataset_that_came_up_meanwhile_stays(
    database: Database,
    caches: Path,
    submit_one: SubmitBuild,
    take: Callable[..., Claim],
    made: DatasetHeader,
) -> None:
    job_id = submit_one()
    held = take()
    staged = stage(caches, held, made)
    (caches / "us.arrow").write_bytes(b"another")
    with pytest.raises(DatasetExistsError), database.session() as session:
        publish(session, job_id, held.attempt, built(made), staged, caches)
    assert (caches / "us.arrow").read_bytes() == b"another"
    staged.unlink()
    with pytest.raises(DatasetNotFoundError), database.session() as session:
        publish(session, job_id, held.attempt, built(made), staged, caches)


def test_a_replaced_dataset_loses_its_graphs(
    database: Database,
    caches: Path,
    submit_one: SubmitBuild,
    take: Callable[..., Claim],
    made: DatasetHeader,
) -> None:
    (caches / "us.arrow").write_bytes(b"the old one")
    (caches / "us.graphs").mkdir()
    job_id = submit_one(replace=True)
    held = take()
    with database.session() as session:
        publish(session, job_id, held.attempt, built(made), stage(caches, held, made), caches)
    assert (caches / "us.arrow").read_bytes() == made.path.read_bytes()
    assert not (caches / "us.graphs").exists()


def test_what_a_killed_worker_left_is_swept_away(
    database: Database,
    caches: Path,
    submit_one: SubmitBuild,
    take: Callable[..., Claim],
    made: DatasetHeader,
) -> None:
    submit_one()
    held = take()
    staged = stage(caches, held, made)
    left = staging_folder(caches, held.job_id, held.attempt - 1)
    left.mkdir()
    (left / "us.arrow").touch()
    with database.session() as session:
        assert sweep_staging(session, caches) == [left.name]
    assert not left.exists()
    assert staged.exists()
    with database.session() as session:
        finish(session, held.job_id, held.attempt, outcome=Outcome.FAILED, reason={"class": "data"})
        sweep_staging(session, caches)
    assert not staged.exists()
