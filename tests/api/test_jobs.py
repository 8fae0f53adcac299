"""Creating, looking at, listing and cancelling jobs over HTTP."""

from __future__ import annotations

from typing import Any

import httpx


def test_create_answers_the_effective_job(http: httpx.Client, spec: dict[str, Any]) -> None:
    answer = http.post("/v1/jobs", json=spec)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["state"] == "queued"
    assert job["config"]["model"]["gat"]["heads"] == [8, 4]
    assert job["config_sources"]["model.gat.heads"] == "derived"
    assert job["config_sources"]["model.hidden_size"] == "request"
    assert job["config_sources"]["optimizer.lr"] == "default"
    assert http.get(answer.headers["location"]).json() == job
