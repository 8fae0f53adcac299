"""The examples are true: their specs are valid on the dataset they name, their scripts run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gogooku3.config import DatasetSpec, JobSpec, check, check_sweep
from gogooku3.config.paths import value_at
from gogooku3.data.splits import split_days
from gogooku3.data.synth import synthesise

EXAMPLES = Path(__file__).parents[2] / "examples"
SPECS = sorted(EXAMPLES.glob("job_*.json"))
SMALL = [path for path in SPECS if path.stem not in ("job_market", "job_reference")]


def load(path: Path) -> JobSpec:
    spec, problems = check(JobSpec, json.loads(path.read_text()))
    assert spec is not None, problems
    return spec


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_spec_is_valid_and_its_split_fits_the_market_that_data_synth_makes(path: Path) -> None:
    spec = load(path)
    assert spec.dataset == "demo"
    calendar = synthesise(stocks=20, days=900).table["date"].unique().sort().to_list()
    split = split_days(calendar, spec.config.data, first_day=60)
    assert len(split.train_D) > 400
    assert len(split.valid_D) > 150


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("sweep_*.json")), ids=lambda path: path.stem)
def test_sweep_is_valid_with_every_value_it_may_choose(path: Path) -> None:
    checked, problems = check_sweep(json.loads(path.read_text()), lambda _: [])
    assert problems == []
    assert checked is not None
    spec = checked.spec
    assert (spec.n_trials, spec.config.max_epochs, spec.max_parallel) == (20, 10, 2)
    searched = {"optimizer.kind", "batch.stocks_per_step", "model.hidden_size"} | {
        "model.gat.dropout",
        "model.gat.layers",
        "loss.terms.soft_spearman.weight",
    }
    assert searched <= set(spec.search_space)
    assert spec.enqueue[0]["optimizer.kind"] == "adamw"


def test_dataset_spec_is_valid() -> None:
    given = json.loads((EXAMPLES / "dataset_synth.json").read_text())
    spec, problems = check(DatasetSpec, given)
    assert spec is not None, problems
    assert spec.name == "demo", "the jobs' examples name it"


@pytest.mark.parametrize(
    ("name", "differs_in"),
    [("adabelief", {"optimizer", "scheduler"}), ("soft_spearman_off", {"loss"})],
)
def test_pair_differs_in_one_thing(name: str, differs_in: set[str]) -> None:
    first: dict[str, Any] = load(EXAMPLES / "job_baseline.json").config.model_dump()
    second: dict[str, Any] = load(EXAMPLES / f"job_{name}.json").config.model_dump()
    assert {key for key in first if first[key] != second[key]} == differs_in


def test_pairs_are_what_their_names_say() -> None:
    assert load(EXAMPLES / "job_adabelief.json").config.optimizer.kind == "adabelief"
    terms = {
        name: [term.kind for term in load(EXAMPLES / f"job_{name}.json").config.loss.terms]
        for name in ("baseline", "soft_spearman_off")
    }
    assert [*terms["soft_spearman_off"], "soft_spearman"] == terms["baseline"]


def test_reference_is_the_first_trial_of_the_production_sweep() -> None:
    reference = load(EXAMPLES / "job_reference.json")
    sweep = json.loads((EXAMPLES / "sweep_production.json").read_text())
    assert reference.dataset == sweep["dataset"]
    dumped = reference.config.model_dump()
    found = {path: value_at(dumped, path) for path in sweep["enqueue"][0]}
    assert found == sweep["enqueue"][0]


def test_market_is_ten_epochs_of_the_whole_model_on_the_real_market() -> None:
    spec = load(EXAMPLES / "job_market.json")
    model = spec.config.model
    assert (spec.dataset, spec.config.max_epochs, model.kind) == ("jp", 10, "atft_gat_fan")
    assert (model.fan.enabled, model.gat.layers) == (True, 1)


def test_readme_of_the_examples_names_every_file() -> None:
    said = (EXAMPLES / "README.md").read_text()
    files = [path for path in EXAMPLES.iterdir() if path.is_file() and path.name != "README.md"]
    assert [path.name for path in files if f"`{path.name}`" not in said] == []


def test_shell_example_is_a_shell_script() -> None:
    script = EXAMPLES / "submit.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", script], check=True)


@pytest.mark.parametrize(
    ("script", "code"), [("poll_job.py", 2), ("fetch_best.py", 2), ("demo.py", 0)]
)
def test_python_examples_say_how_to_use_them(script: str, code: int) -> None:
    arguments = ["--help"] if code == 0 else []
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout.strip()
