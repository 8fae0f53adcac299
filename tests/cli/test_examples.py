"""The examples are true: their specs are valid on the dataset they name, their scripts run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gogooku3.config import DatasetSpec, JobSpec, check
from gogooku3.data.splits import split_days
from gogooku3.data.synth import synthesise

EXAMPLES = Path(__file__).parents[2] / "examples"
SPECS = sorted(EXAMPLES.glob("job_*.json"))


def load(path: Path) -> JobSpec:
    spec, problems = check(JobSpec, json.loads(path.read_text()))
    assert spec is not None, problems
    return spec


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_spec_is_valid_and_its_split_fits_the_market_that_data_synth_makes(path: Path) -> None:
    spec = load(path)
    assert spec.dataset == "demo"
    calendar = synthesise(stocks=20, days=900).table["date"].unique().sort().to_list()
    split = split_days(calendar, spec.config.data, first_day=60)
    assert len(split.train_D) > 400
    assert len(split.valid_D) > 150


def test_dataset_spec_is_valid() -> None:
    given = json.loads((EXAMPLES / "dataset_synth.json").read_text())
    spec, problems = check(DatasetSpec, given)
    assert spec is not None, problems
    assert spec.name == "demo", "the jobs' examples name it"


def test_the_two_jobs_differ_in_the_optimiser_and_its_schedule_alone() -> None:
    baseline, adabelief = (
        load(EXAMPLES / f"job_{name}.json") for name in ("baseline", "adabelief")
    )
    first: dict[str, Any] = baseline.config.model_dump()
    second: dict[str, Any] = adabelief.config.model_dump()
    differing = {key for key in first if first[key] != second[key]}
    assert differing == {"optimizer", "scheduler"}
    assert second["optimizer"]["kind"] == "adabelief"


def test_shell_example_is_a_shell_script() -> None:
    script = EXAMPLES / "submit.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", script], check=True)


@pytest.mark.parametrize(("script", "code"), [("poll_job.py", 2), ("demo.py", 0)])
def test_python_examples_say_how_to_use_them(script: str, code: int) -> None:
    arguments = ["--help"] if code == 0 else []
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout.strip()
