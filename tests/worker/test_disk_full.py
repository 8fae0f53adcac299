"""A full disk ends the attempt with a reason, and nothing else."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain import JobState
from worker.classify import fault
from worker.log import mark


@pytest.fixture
def small_disk(bench: Any) -> Iterator[Path]:
    """The artifacts on a disk of their own, of one MiB."""
    folder: Path = bench.artifacts
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


def test_job_on_a_full_disk_fails_saying_so_and_the_worker_goes_on(
    bench: Any, small_disk: Path
) -> None:
    filler = fill(small_disk)
    bench.start_worker()
    full = bench.submit(model="linear", limits={"max_attempts": 1})
    job = bench.wait_state(full, JobState.FAILED)
    assert (job.reason["class"], job.reason["code"]) == ("infra", "disk-full")
    assert bench.checkpoints(full) == [], "nothing half written is called a checkpoint"
    filler.unlink()
    after = bench.submit(model="linear", limits={"max_attempts": 1})
    bench.wait_state(after, JobState.SUCCEEDED)


def test_mark_on_a_full_disk_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.symlink_to("/dev/full")
    mark(log, "attempt 1 ended")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_of_the_worker_is_named(number: int) -> None:
    reason = fault(OSError(number, os.strerror(number))).reason
    assert reason is not None
    assert (reason["class"], reason["code"]) == ("infra", "disk-full")
    other = fault(OSError(errno.EACCES, "no")).reason
    assert other is not None
    assert other["code"] == "worker"
