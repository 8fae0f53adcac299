"""POST /v1/datasets: a job like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

SPEC: dict[str, Any] = {
    "name": "us",
    "source": {"kind": "synth", "stocks": 30, "days": 200, "seed": 2},
    "horizons": [1, 5],
}


@pytest.fixture(autouse=True)
def _nothing_is_being_built(http: httpx.Client) -> Any:
    yield
    for job in http.get("/v1/jobs", params={"kind": "dataset", "state": "queued"}).json()["items"]:
        http.post(f"/v1/jobs/{job['id']}/cancel")


def test_accepted(http: httpx.Client) -> None:
    answer = http.post("/v1/datasets", json=SPEC | {"labels": {"team": "red"}})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["dataset"]) == ("dataset", "queued", "us")
    assert job["dataset_fingerprint"] is None
    assert job["config"]["source"] == SPEC["source"]
    assert job["config"]["normalisation"] == "rank"
    assert job["config_sources"]["source.seed"] == "request"
    assert http.get(answer.headers["location"]).json()["config"] == job["config"]
    listed = http.get("/v1/jobs", params={"kind": "dataset", "dataset_id": "us"}).json()["items"]
    assert [one["id"] for one in listed] == [job["id"]]
    missing = http.get("/v1/datasets/us")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown-dataset")
    assert job["id"] in missing.json()["detail"]
    assert http.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert job["id"] not in http.get("/v1/datasets/us").json()["detail"]


def test_taken_names(http: httpx.Client) -> None:
    answer = http.post("/v1/datasets", json=SPEC | {"name": "tiny"})
    assert (answer.status_code, answer.json()["code"]) == (409, "dataset-exists")
    first = http.post("/v1/datasets", json=SPEC).json()
    again = http.post("/v1/datasets", json=SPEC)
    assert (again.status_code, again.json()["code"]) == (409, "in-use")
    assert first["id"] in again.json()["detail"]


def test_a_dataset_in_use_is_not_replaced(http: httpx.Client, spec: dict[str, Any]) -> None:
    job = http.post("/v1/jobs", json=spec).json()
    answer = http.post("/v1/datasets", json=SPEC | {"name": "tiny", "replace": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "in-use")
    http.post(f"/v1/jobs/{job['id']}/cancel")
    answer = http.post("/v1/datasets", json=SPEC | {"name": "tiny", "replace": True})
    assert answer.status_code == 202
    refused = http.post("/v1/jobs", json=spec)
    assert (refused.status_code, refused.json()["code"]) == (409, "in-use")
    assert answer.json()["id"] in refused.json()["detail"]


def test_the_same_key_builds_once(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": "build-us"}
    first = http.post("/v1/datasets", json=SPEC, headers=headers)
    again = http.post("/v1/datasets", json=SPEC, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    other = http.post("/v1/datasets", json=SPEC | {"horizons": [1]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-mismatch")


def test_validate_only_stores_nothing(http: httpx.Client) -> None:
    answer = http.post("/v1/datasets", params={"validate_only": "true"}, json=SPEC)
    assert answer.status_code == 200
    assert answer.json()["config"]["top"] is None
    assert answer.json()["config_sources"]["horizons"] == "request"
    jobs = http.get("/v1/jobs", params={"kind": "dataset", "state": "queued"}).json()
    assert jobs["items"] == []


def test_every_problem_at_once(running: Any, http: httpx.Client) -> None:
    data: Path = running.settings.data
    data.mkdir(exist_ok=True)
    (data / "out.parquet").symlink_to(running.settings.caches / "tiny.arrow")
    given = {"name": "a b", "source": {"kind": "file", "path": "out.parquet"}, "horisons": [1]}
    answer = http.post("/v1/datasets", json=given)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problems = {item["pointer"]: item for item in answer.json()["errors"]}
    assert set(problems) == {"/name", "/source/path", "/horisons"}
    assert problems["/source/path"]["code"] == "unknown-source"
    assert "leads out" in problems["/source/path"]["message"]
    assert "'horizons'" in problems["/horisons"]["message"]
    assert str(running.settings.home) not in answer.text


def test_a_dataset_tells_who_built_it(http: httpx.Client) -> None:
    tiny = http.get("/v1/datasets/tiny").json()
    assert tiny["job_id"] is None, "the command line did"
    assert {"role", "missing_share"} <= set(tiny["features"][0])
