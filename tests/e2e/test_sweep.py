"""A sweep from the command line to the best checkpoint, with the real trainer."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from gogooku3.config.paths import value_at

pytestmark = pytest.mark.slow


def test_sweep_from_the_command_line_to_its_best_checkpoint(
    stack: Any, spec: dict[str, Any], tmp_path: Path
) -> None:
    sweep = {
        "name": "small",
        "dataset": spec["dataset"],
        "config": {**spec["config"], "max_epochs": 1},
        "search_space": {
            "optimizer.lr": {"float": [1e-4, 1e-2], "log": True},
            "model.gat.layers": {"int": [0, 1]},
        },
        "enqueue": [{"optimizer.lr": 2e-3, "model.gat.layers": 1}],
        "n_trials": 2,
        "resources": {"cpu_threads": 1},
    }
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(sweep))
    shown = stack.run("sweep", str(file), "--watch", timeout=280)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("trial 0 (1/2)  succeeded")
    # How much is luck is said of all trials or not at all.
    assert "best of\t2" in lines
    sweep_id = next(word for word in shown.stderr.split() if word.startswith("swp_"))
    assert f"gogooku3 fetch {sweep_id} --best" in shown.stderr

    fetched = stack.run("fetch", sweep_id, "--best", "-o", str(tmp_path), "--json")
    assert fetched.returncode == 0, fetched.stderr
    best = json.loads(fetched.stdout)
    with zipfile.ZipFile(best["path"]) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    # What the trainer wrote down is what was suggested.
    for path, value in best["params"].items():
        assert value_at(manifest["config"], path) == value
    assert manifest["metrics"]["valid/rank_ic"] == pytest.approx(best["value"])

    job = httpx.get(f"{stack.url}/v1/jobs/{best['job_id']}").json()
    again = stack.submit(
        {"dataset": spec["dataset"], "config": job["config"], "resources": {"cpu_threads": 1}}
    )
    done = stack.wait_for(again["id"], "succeeded", "failed")
    assert done["best"]["metrics"]["valid/rank_ic"] == best["value"]
