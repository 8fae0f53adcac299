"""A training job from HTTP to checkpoint, on the stack that `gogooku3 up` starts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gogooku3 import load_model

pytestmark = pytest.mark.slow


def test_job_from_post_to_reloaded_checkpoint(
    stack: Any, spec: dict[str, Any], tmp_path: Path
) -> None:
    created = stack.submit(spec)
    job_id = created["id"]
    assert created["state"] == "queued"
    assert created["config"]["model"]["gat"]["heads"] == [8]
    assert created["config_sources"]["model.gat.heads"] == "derived"

    job = stack.wait_for(job_id, "succeeded", "failed")
    assert job["state"] == "succeeded", job["reason"]
    provenance = job["provenance"]
    assert provenance["threads"] == 1
    assert provenance["interop_threads"] == 1
    assert provenance["variables"]["OMP_NUM_THREADS"] == "1"
    assert provenance["device"] == "cpu"

    listed = httpx.get(f"{stack.url}/v1/jobs/{job_id}/checkpoints").json()["items"]
    best = next(item for item in listed if item["is_best"])
    answer = httpx.get(f"{stack.url}/v1/jobs/{job_id}/checkpoints/best", follow_redirects=True)
    assert hashlib.sha256(answer.content).hexdigest() == best["sha256"]
    path = tmp_path / "best.gk3"
    path.write_bytes(answer.content)

    cache = stack.home / "caches" / "tiny.arrow"
    metrics = load_model(path).evaluate(cache, split="valid")
    for name, value in best["metrics"].items():
        if name.startswith("valid/rank_ic"):
            assert metrics[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("kind", ["linear", "reversal"])
def test_comparison_models_run_through_the_same_job(
    stack: Any, spec: dict[str, Any], kind: str
) -> None:
    spec["config"]["model"] = {"kind": kind}
    job = stack.wait_for(stack.submit(spec)["id"], "succeeded", "failed")
    assert job["state"] == "succeeded", job["reason"]
    assert job["best"]["metrics"]["valid/rank_ic@1"] is not None


def test_bad_spec_names_every_field_and_stores_nothing(stack: Any, spec: dict[str, Any]) -> None:
    before = httpx.get(f"{stack.url}/v1/jobs").json()["items"]
    spec["dataset"] = "tinny"
    spec["config"]["data"]["lookback"] = 4
    spec["config"]["model"] |= {"fan": {"top_k": 3}, "hiden": 1}
    spec["config"]["model"]["gat"] = {"layers": 3, "heads": [4]}
    answer = httpx.post(f"{stack.url}/v1/jobs", json=spec)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problems = {item["pointer"]: item["message"] for item in answer.json()["errors"]}
    assert set(problems) == {
        "/dataset",
        "/config/model/fan/top_k",
        "/config/model/hiden",
        "/config/model/gat/heads",
    }
    assert "tiny" in problems["/dataset"]
    assert httpx.get(f"{stack.url}/v1/jobs").json()["items"] == before


def test_cancel_stops_the_trainer_and_keeps_a_checkpoint_to_go_on_from(
    stack: Any, spec: dict[str, Any]
) -> None:
    spec["config"]["max_epochs"] = 1000
    job_id = stack.submit(spec)["id"]
    stack.wait_for_epoch(job_id, 1)
    assert httpx.post(f"{stack.url}/v1/jobs/{job_id}/cancel").status_code == 202
    stack.wait_for(job_id, "cancelled", timeout=60)
    assert stack.trainers(job_id) == []
    assert httpx.post(f"{stack.url}/v1/jobs/{job_id}/cancel").status_code in (200, 202)
    assert httpx.get(f"{stack.url}/v1/jobs/{job_id}/checkpoints").json()["items"]


def test_command_line_from_submit_to_fetch(
    stack: Any, spec: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    submitted = stack.run("submit", str(file), "--json")
    assert submitted.returncode == 0, submitted.stderr
    job_id = json.loads(submitted.stdout)["id"]

    watched = stack.run("watch", job_id)
    assert watched.returncode == 0, watched.stderr
    assert "succeeded" in watched.stdout
    listed = stack.run("jobs", "--json")
    assert job_id in listed.stdout
    logs = stack.run("logs", job_id)
    assert logs.returncode == 0, logs.stderr
    assert "epoch 4 in" in logs.stdout

    out = tmp_path / "best"
    fetched = stack.run("fetch", job_id, "--best", "-o", str(out))
    assert fetched.returncode == 0, fetched.stderr
    assert list(out.glob("*.gk3"))
    again = stack.run("cancel", job_id)
    assert again.returncode == 1
    assert "succeeded" in again.stderr


def test_second_up_on_the_same_home_says_that_one_is_running(stack: Any) -> None:
    second = stack.run("up", "--port", "0")
    assert second.returncode == 1
    assert str(stack.process.pid) in second.stderr
    assert stack.url in second.stderr
