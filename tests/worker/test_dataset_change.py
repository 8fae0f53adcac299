"""A job whose dataset changes under it stops, and says why."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain import JobState
from gogooku3.data.build import build
from gogooku3.data.header import read_header
from gogooku3.data.synth import synthesise
from worker.identity import DatasetIdentity


def replace(path: Path, content: Path | bytes) -> None:
    """As every writer of datasets does: a whole new file under the old name."""
    new = path.with_name("new")
    if isinstance(content, bytes):
        new.write_bytes(content)
    else:
        shutil.copy(content, new)
    new.replace(path)


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("other") / "tiny.arrow"
    market = synthesise(stocks=30, days=150, seed=2, horizons=(1, 5))
    build(market.table, name="tiny", out=path, horizons=(1, 5))
    return path


@pytest.fixture
def file(tmp_path: Path, dataset: Path) -> Path:
    return Path(shutil.copy(dataset, tmp_path / "tiny.arrow"))


CHANGES: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "replaced": (lambda file, other: replace(file, other), "was replaced: its fingerprint is now"),
    "damaged": (lambda file, other: replace(file, b"junk"), "something else: dataset-corrupt"),
    "removed": (lambda file, other: file.unlink(), "was removed"),
    "written to": (lambda file, other: damage(file), "was written to"),
    "truncated": (lambda file, other: os.truncate(file, 100), "was written to"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_seen(file: Path, other: Path, what: str) -> None:
    identity = DatasetIdentity(file, read_header(file).fingerprint)
    assert identity.change() is None
    change, told = CHANGES[what]
    change(file, other)
    assert told in str(identity.change())
    identity.close()


def test_the_same_again_is_no_change(file: Path, dataset: Path) -> None:
    identity = DatasetIdentity(file, read_header(file).fingerprint)
    replace(file, dataset)
    assert identity.change() is None
    replace(file, dataset)
    assert identity.change() is None
    damage(file)
    assert identity.change() is None, "the trainer has the first file mapped"
    os.link(file, file.with_name("linked"))
    assert identity.change() is None
    identity.close()


def test_a_missing_file_is_the_trainers_to_tell(tmp_path: Path) -> None:
    identity = DatasetIdentity(tmp_path / "none.arrow", "f")
    assert identity.change() is None
    identity.close()


@pytest.mark.parametrize("what", ["replaced", "removed", "truncated"])
def test_a_running_job_stops(bench: Any, other: Path, what: str) -> None:
    job_id = bench.submit()
    path = bench.home / "caches" / "tiny.arrow"
    start = ["start", {"dataset": {"fingerprint": bench.job(job_id).dataset_fingerprint}}]
    running = threading.Thread(target=bench.run, args=([start, ["epoch", 1], ["sleep", 60]],))
    running.start()
    bench.wait(lambda: bench.epochs(job_id))
    change, told = CHANGES[what]
    change(path, other)
    running.join(20)
    job = bench.job(job_id)
    assert job.state is JobState.FAILED
    assert (job.reason["class"], job.reason["code"]) == ("data", "dataset-changed")
    assert told in job.reason["message"]
    assert job.attempts_used == 1
    assert not running.is_alive()


def test_an_epoch_after_the_change_does_not_count(bench: Any, other: Path) -> None:
    job_id = bench.submit()
    path = bench.home / "caches" / "tiny.arrow"
    start = ["start", {"dataset": {"fingerprint": bench.job(job_id).dataset_fingerprint}}]
    change = ["copy", str(other), str(path)]
    # The first epoch is long over, and heard of, when the change comes.
    bench.run([start, ["epoch", 1], ["sleep", 3], change, ["epoch", 2], ["sleep", 30]])
    job = bench.job(job_id)
    assert job.reason["code"] == "dataset-changed"
    assert bench.epochs(job_id) == [1]


def test_a_trainer_that_dies_of_the_change_is_not_tried_again(bench: Any) -> None:
    job_id = bench.submit()
    path = bench.home / "caches" / "tiny.arrow"
    start = ["start", {"dataset": {"fingerprint": bench.job(job_id).dataset_fingerprint}}]
    bench.run([start, ["truncate", str(path)], ["signal", signal.SIGBUS]])
    job = bench.job(job_id)
    assert (job.state, job.reason["code"]) == (JobState.FAILED, "dataset-changed")
