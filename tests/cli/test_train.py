"""`gogooku3 train`: the real trainer, without a server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).with_name("gogooku3")
SPLIT = {
    "train_start": "2018-06-01",
    "train_end": "2018-08-31",
    "valid_end": "2018-09-28",
    "embargo_days": 0,
}
CONFIG: dict[str, Any] = {
    "max_epochs": 2,
    "data": {"lookback": 5, "horizons": [1, 5], "split": SPLIT},
    "model": {"hidden_size": 8, "encoder": {"heads": 2}, "gat": {"layers": 1}},
    "batch": {"days_per_step": 8},
}


@pytest.fixture
def dataset(gogooku3: Any) -> str:
    made = gogooku3(
        "data", "synth", "small", "--stocks", "24", "--days", "220", "--horizons", "1,5"
    )
    assert made.returncode == 0, made.stderr
    return "small"


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_train_refuses_what_does_not_fit_and_trains_what_does(
    gogooku3: Any, dataset: str, tmp_path: Path
) -> None:
    bad = write(tmp_path / "bad.json", {**CONFIG, "max_epoch": 1, "model": {"hidden_size": "x"}})
    refused = gogooku3("train", bad, "--dataset", dataset)
    assert refused.returncode == 2
    assert "/max_epoch: unknown key 'max_epoch'; did you mean 'max_epochs'?" in refused.stderr
    assert "/model/hidden_size" in refused.stderr

    horizons = {**CONFIG, "data": {**CONFIG["data"], "horizons": [1, 3]}}
    refused = gogooku3("train", write(tmp_path / "h.json", horizons), "--dataset", dataset)
    assert refused.returncode == 2
    assert "/data/horizons/1" in refused.stderr

    config = write(tmp_path / "config.json", CONFIG)
    assert "which dataset?" in gogooku3("train", config).stderr
    trained = gogooku3("train", config, "--dataset", dataset, "-o", "out", "--threads", "1")
    assert trained.returncode == 0, trained.stderr
    lines = trained.stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("epoch ") and "/" in line] == [
        "1/2",
        "2/2",
    ]
    checkpoint = tmp_path / lines[-1]
    assert checkpoint.suffix == ".gk3"
    assert checkpoint.stat().st_size > 1000

    again = gogooku3("train", config, "--dataset", dataset, "-o", "out")
    assert again.returncode == 2
    assert "--resume" in again.stderr


@pytest.mark.slow
def test_ctrl_c_writes_a_resume_state_that_resume_goes_on_from(
    gogooku3: Any, dataset: str, environment: dict[str, str], tmp_path: Path
) -> None:
    job = write(tmp_path / "job.json", {"dataset": dataset, "config": {**CONFIG, "max_epochs": 5}})

    process = subprocess.Popen(
        [COMMAND, "train", job, "-o", tmp_path / "out", "--threads", "1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    told: list[dict[str, Any]] = []
    for line in process.stdout:
        told.append(json.loads(line))
        if told[-1]["type"] == "epoch" and told[-1]["epoch"] == 2:
            process.send_signal(signal.SIGINT)
    assert process.wait(60) == 1
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stdout.close()
    process.stderr.close()
    assert told[0]["type"] == "start"
    assert told[0]["provenance"]["variables"]["OMP_NUM_THREADS"] == "1"
    assert told[-1] | {"outcome": "interrupted"} == told[-1]
    done = max(event["epoch"] for event in told if event["type"] == "epoch")
    assert done < 5

    resumed = gogooku3("train", job, "-o", tmp_path / "out", "--resume", "--threads", "1")
    assert resumed.returncode == 0, resumed.stderr
    assert "goes on from" in resumed.stdout
    assert "epoch 5/5" in resumed.stdout


def test_a_trainer_that_dies_is_an_error_that_names_its_log(
    gogooku3: Any, dataset: str, environment: dict[str, str], tmp_path: Path
) -> None:
    config = write(tmp_path / "config.json", {**CONFIG, "max_epochs": 1000})

    process = subprocess.Popen(
        [COMMAND, "train", config, "--dataset", dataset, "-o", tmp_path / "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("trains on cpu")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "exit code -9" in said
    assert "log.txt" in said
    assert "Traceback" not in said


def test_a_killed_command_takes_its_trainer_along(
    gogooku3: Any, dataset: str, environment: dict[str, str], tmp_path: Path
) -> None:
    config = write(tmp_path / "config.json", {**CONFIG, "max_epochs": 1000})

    process = subprocess.Popen(
        [COMMAND, "train", config, "--dataset", dataset, "-o", tmp_path / "out", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    trainer = json.loads(process.stdout.readline())["provenance"]["pid"]
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{trainer}").exists():
        assert time.monotonic() < deadline, "the trainer outlived the command"
        time.sleep(0.1)
