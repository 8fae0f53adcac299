"""Builds with the real builder: whole or not at all, whatever happens to it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.domain import JobState
from app.jobs.builds import STAGING
from app.jobs.cancel import cancel
from app.jobs.check import check_build
from app.jobs.claim import claim
from app.jobs.offer import Offer
from app.jobs.submit import submit_build
from gogooku3.data.header import read_header
from gogooku3.data.synth import synthesise
from worker.task import task_of

SYNTH = {"kind": "synth", "stocks": 30, "days": 200, "seed": 4}
LARGE = {"kind": "synth", "stocks": 600, "days": 600}


def post(bench: Any, source: dict[str, Any] | None = None, **more: Any) -> str:
    given = {"name": "made", "source": source or SYNTH, "horizons": [1, 5], **more}
    given.setdefault("resources", {"cpu_threads": 1})
    spec = check_build(given, bench.home / "data")
    with bench.database.session() as session:
        return submit_build(session, spec, given=given, caches=bench.home / "caches").id


def left_in(bench: Any) -> list[str]:
    """Files in the folder of the datasets, but for the one that was there."""
    files = (bench.home / "caches").rglob("*")
    return sorted(path.name for path in files if path.is_file() and path.name != "tiny.arrow")


def table(bench: Any, **columns: Any) -> Path:
    """A file below the data root."""
    path: Path = bench.home / "data" / "bars.parquet"
    path.parent.mkdir(exist_ok=True)
    frame = synthesise(stocks=20, days=150).table
    frame.with_columns(**columns).write_parquet(path)
    return path


def test_built_from_a_simulation(bench: Any) -> None:
    job_id = post(bench)
    bench.run([])
    job = bench.job(job_id)
    assert job.state is JobState.SUCCEEDED, job.reason
    header = read_header(bench.home / "caches" / "made.arrow")
    assert (header.stocks, header.horizons) == (30, (1, 5))
    assert header.planted is not None
    assert job.dataset_fingerprint == header.fingerprint
    stages = [event.payload for event in bench.events(job_id, "progress")]
    shares = [stage["share"] for stage in stages]
    assert shares == sorted(shares)
    assert stages[-1] == {"stage": "written", "share": 1.0, "eta_s": 0.0}
    assert [event.payload["rows"] for event in bench.events(job_id, "dataset")] == [header.rows]
    assert job.provenance["threads"] == 1
    assert "torch" not in job.provenance["versions"]
    assert left_in(bench) == ["made.arrow"]
    assert list((bench.home / "caches" / STAGING).iterdir()) == []
    assert "100 %  written" in bench.log(job_id)


def test_a_build_from_jquants_without_a_key_says_so(
    bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JQUANTS_API_KEY", "")
    job_id = post(bench, {"kind": "jquants", "start": "2020-01-06"})
    bench.run([])
    job = bench.job(job_id)
    assert job.state is JobState.FAILED
    assert job.reason is not None
    assert (job.reason["class"], job.reason["code"]) == ("user", "credentials")
    assert "JQUANTS_API_KEY" in job.reason["message"]


@pytest.mark.parametrize(
    ("source", "has_key"), [({"kind": "jquants", "start": "2020-01-06"}, True), (SYNTH, False)]
)
def test_only_a_builder_that_fetches_has_the_key(
    bench: Any, monkeypatch: pytest.MonkeyPatch, source: dict[str, Any], has_key: bool
) -> None:
    monkeypatch.setenv("JQUANTS_API_KEY", "secret")
    post(bench, source)
    place = bench.place([])
    with bench.database.session() as session:
        claimed = claim(session, worker_id="wrk_test", lease_s=60.0, offer=Offer(cpu=(0,)))
    assert claimed is not None
    variables = task_of(claimed, place, bench.artifacts / "attempt-1", None).variables
    assert ("JQUANTS_API_KEY" in variables) is has_key


def test_built_from_a_file(bench: Any) -> None:
    table(bench)
    job_id = post(bench, {"kind": "file", "path": "bars.parquet"}, top=10, normalisation="zscore")
    bench.run([])
    assert bench.job(job_id).state is JobState.SUCCEEDED, bench.job(job_id).reason
    header = read_header(bench.home / "caches" / "made.arrow")
    assert (header.universe["top"], header.normalisation) == (10, "zscore")
    assert header.source["file"] == "bars.parquet"


def test_what_is_wrong_with_the_data_is_the_reason(bench: Any) -> None:
    path = table(bench, close=pl.lit(None, dtype=pl.Float64))
    job_id = post(bench, {"kind": "file", "path": "bars.parquet"})
    bench.run([])
    job = bench.job(job_id)
    assert job.state is JobState.FAILED
    assert (job.reason["class"], job.reason["code"]) == ("data", "source-data")
    assert "no rows with a closing price" in job.reason["message"]
    assert str(path) not in job.reason["message"]
    assert job.attempts_used == 1
    assert left_in(bench) == []


def test_a_spec_chooses_columns_features_and_storage(bench: Any) -> None:
    table(bench, mine=pl.col("close") * 2)
    spec = {"features": [{"column": "mine", "name": "double"}], "builtin_features": True}
    job_id = post(
        bench,
        {"kind": "file", "path": "bars.parquet", "spec": spec},
        features=["double", "return_1"],
        storage="float16",
    )
    bench.run([])
    assert bench.job(job_id).state is JobState.SUCCEEDED, bench.job(job_id).reason
    built = read_header(bench.home / "caches" / "made.arrow")
    assert built.feature_names == ("double", "return_1")
    assert built.storage == "float16"


def test_a_source_that_was_taken_away_is_the_reason(bench: Any) -> None:
    path = table(bench)
    job_id = post(bench, {"kind": "file", "path": "bars.parquet"})
    path.unlink()
    bench.run([])
    job = bench.job(job_id)
    assert (job.state, job.reason["class"]) == (JobState.FAILED, "data")
    assert "no table 'bars.parquet'" in job.reason["message"]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_cancel_leaves_nothing(bench: Any, share: float) -> None:
    job_id = post(bench, LARGE)
    runner = threading.Thread(target=bench.run, args=([],))
    runner.start()
    bench.wait(lambda: any(e.payload["share"] >= share for e in bench.events(job_id, "progress")))
    with bench.database.session() as session:
        cancel(session, job_id)
    runner.join(30)
    assert bench.job(job_id).state is JobState.CANCELLED
    assert left_in(bench) == []


def test_a_killed_builder_leaves_nothing_and_is_tried_again(bench: Any) -> None:
    job_id = post(bench, LARGE)
    runner = threading.Thread(target=bench.run, args=([],))
    runner.start()
    bench.wait(lambda: bench.job(job_id).provenance)
    os.kill(bench.job(job_id).provenance["pid"], signal.SIGKILL)
    runner.join(30)
    job = bench.job(job_id)
    assert (job.state, job.reason["class"]) == (JobState.QUEUED, "killed")
    assert "builder was killed by SIGKILL" in job.reason["message"]
    assert left_in(bench) == []


def test_temporary_files_go_with_the_rest(bench: Any) -> None:
    job_id = post(bench)
    code = (
        "import sys, tempfile; sys.stdin.read(); "
        "print(tempfile.NamedTemporaryFile(delete=False).name, flush=True); "
        "import os; os.kill(os.getpid(), 9)"
    )
    supervisor = bench.supervisor(bench.place([], builder=(sys.executable, "-c", code)))
    supervisor.run()
    name = next(line for line in bench.log(job_id).splitlines() if line.startswith("/"))
    assert bench.home / "caches" / STAGING in Path(name).parents
    assert not Path(name).exists()
    assert left_in(bench) == []


def test_a_killed_worker_leaves_nothing_and_the_build_goes_on_elsewhere(bench: Any) -> None:
    job_id = post(bench, LARGE)
    worker = bench.start_worker(lease_s=3.0)
    bench.wait(lambda: bench.events(job_id, "progress"))
    pid = bench.job(job_id).provenance["pid"]
    worker.kill()
    bench.wait(lambda: not Path(f"/proc/{pid}").exists(), 10)
    assert "made.arrow" not in [path.name for path in (bench.home / "caches").iterdir()]
    bench.start_worker(lease_s=10.0)
    job = bench.wait_state(job_id, JobState.SUCCEEDED, JobState.FAILED)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    bench.wait(lambda: left_in(bench) == ["made.arrow"])


def test_a_name_that_was_taken_meanwhile_is_the_reason(bench: Any) -> None:
    job_id = post(bench)
    (bench.home / "caches" / "made.arrow").write_bytes(b"by the command line")
    bench.run([])
    job = bench.job(job_id)
    assert (job.state, job.reason["code"]) == (JobState.FAILED, "dataset-exists")
    assert (bench.home / "caches" / "made.arrow").read_bytes() == b"by the command line"
