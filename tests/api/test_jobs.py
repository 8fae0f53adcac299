"""Creating, looking at, listing and cancelling jobs over HTTP."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
import pytest

from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.jobs.record import record
from gogooku3.events import EpochEvent, ProgressEvent, StartEvent

NOBODY = "job_00000000000000000000000000"


def create(http: httpx.Client, spec: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A new job."""
    answer = http.post("/v1/jobs", json=copy.deepcopy(spec) | changes)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


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


def test_dry_run_answers_the_config_and_stores_nothing(
    http: httpx.Client, spec: dict[str, Any]
) -> None:
    before = len(http.get("/v1/jobs", params={"page_size": 1000}).json()["items"])
    answer = http.post("/v1/jobs", params={"validate_only": "true"}, json=spec)
    assert answer.status_code == 200
    assert answer.json()["config"]["model"]["head"]["hidden"] == 8
    assert answer.json()["config_sources"]["model.head.hidden"] == "derived"
    assert len(http.get("/v1/jobs", params={"page_size": 1000}).json()["items"]) == before


def test_dry_run_reports_problems_as_the_create_does(
    http: httpx.Client, spec: dict[str, Any]
) -> None:
    spec["config"]["max_epoch"] = 3
    wet = http.post("/v1/jobs", json=spec)
    dry = http.post("/v1/jobs", params={"validate_only": "true"}, json=spec)
    assert wet.status_code == dry.status_code == 422
    assert wet.json()["errors"] == dry.json()["errors"]


def test_every_problem_of_a_spec_is_named_at_once(http: httpx.Client, spec: dict[str, Any]) -> None:
    before = http.get("/v1/jobs", params={"page_size": 1000}).json()["items"]
    spec["dataset"] = "tinny"
    spec["priorty"] = 1
    spec["name"] = "a\x00b"
    spec["labels"] = {"ok": "\x00"}
    spec["config"]["data"] |= {"lookback": 4, "horizons": [1, 5, 7]}
    spec["config"]["model"] |= {"fan": {"top_k": 3}, "hiden": 1, "dropout": float("nan")}
    spec["config"]["model"]["gat"] = {"layers": 3, "heads": [4]}
    spec["config"]["optimizer"] = {"kind": "sgd"}
    # As text: httpx itself refuses to write NaN.
    answer = http.post("/v1/jobs", content=json.dumps(spec))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == "invalid-spec"
    problems = {item["pointer"]: item for item in body["errors"]}
    assert set(problems) >= {
        "/dataset",
        "/priorty",
        "/name",
        "/labels/ok",
        "/config/model/hiden",
        "/config/model/dropout",
        "/config/model/fan/top_k",
        "/config/model/gat/heads",
        "/config/optimizer/kind",
    }
    assert len(body["errors"]) == len(problems), "each problem once"
    assert "'tiny'" in problems["/dataset"]["message"]
    assert "'priority'" in problems["/priorty"]["message"]
    assert "'hidden_size'" in problems["/config/model/hiden"]["message"]
    assert problems["/name"]["code"] == "nul-character"
    assert http.get("/v1/jobs", params={"page_size": 1000}).json()["items"] == before


def test_dataset_rules_are_part_of_the_problems(http: httpx.Client, spec: dict[str, Any]) -> None:
    spec["config"]["data"]["horizons"] = [1, 7]
    spec["config"]["data"]["features"] = ["no_such_feature"]
    errors = http.post("/v1/jobs", json=spec).json()["errors"]
    assert {item["pointer"] for item in errors} >= {
        "/config/data/horizons/1",
        "/config/data/features/0",
    }


def test_running_job_shows_progress_metrics_and_provenance(
    running: Any, http: httpx.Client, spec: dict[str, Any]
) -> None:
    job_id = create(http, spec, priority=999)["id"]
    held = running.claim()
    assert held.job_id == job_id
    with running.database.session() as session:
        record(
            session,
            job_id,
            held.attempt,
            [
                StartEvent(provenance={"device": "cpu", "pid": 7}),
                EpochEvent(epoch=1, metrics={"valid/ic": None, "valid/loss": 2.0}, duration_s=3.0),
                ProgressEvent(epoch=2, max_epochs=3, step=4, steps=9, eta_s=6.5),
            ],
        )
    job = http.get(f"/v1/jobs/{job_id}").json()
    assert job["state"] == "running"
    assert job["attempt"] == 1
    assert job["metrics"] == {"valid/ic": None, "valid/loss": 2.0}
    assert job["provenance"]["device"] == "cpu"
    progress = job["progress"]
    assert (progress["epoch"], progress["max_epochs"], progress["step"]) == (2, 3, 4)
    assert progress["eta_s"] == 6.5
    attempts = http.get(f"/v1/jobs/{job_id}/attempts").json()["items"]
    assert [(one["number"], one["worker_id"], one["pid"]) for one in attempts] == [
        (1, "wrk_test", 7)
    ]
    with running.database.session() as session:
        reason = {"class": "diverged", "code": "nan-loss", "message": "NaN", "next_action": None}
        finish(session, job_id, held.attempt, outcome=Outcome.FAILED, reason=reason)
    job = http.get(f"/v1/jobs/{job_id}").json()
    assert job["state"] == "failed"
    assert job["reason"]["code"] == "nan-loss"
    assert job["finished_at"] is not None
    refused = http.post(f"/v1/jobs/{job_id}/cancel")
    assert refused.status_code == 409
    assert refused.json()["code"] == "invalid-state"


def test_polling_an_unchanged_job_is_304(http: httpx.Client, spec: dict[str, Any]) -> None:
    job_id = create(http, spec)["id"]
    first = http.get(f"/v1/jobs/{job_id}")
    headers = {"If-None-Match": first.headers["etag"]}
    again = http.get(f"/v1/jobs/{job_id}", headers=headers)
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]
    http.post(f"/v1/jobs/{job_id}/cancel")
    changed = http.get(f"/v1/jobs/{job_id}", headers=headers)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


def test_cancel_of_a_queued_job_is_immediate_and_may_be_repeated(
    http: httpx.Client, spec: dict[str, Any]
) -> None:
    job_id = create(http, spec)["id"]
    first = http.post(f"/v1/jobs/{job_id}/cancel")
    assert first.status_code == 202
    assert first.json()["state"] == "cancelled"
    second = http.post(f"/v1/jobs/{job_id}/cancel", params={"force": "true"})
    assert second.status_code == 202
    events = http.get(f"/v1/jobs/{job_id}/events").json()["items"]
    assert [event["payload"]["state"] for event in events] == ["queued", "cancelled"]


def test_cancel_of_a_running_job_is_a_request(
    running: Any, http: httpx.Client, spec: dict[str, Any]
) -> None:
    job_id = create(http, spec, priority=1000)["id"]
    held = running.claim()
    answer = http.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 202
    assert answer.json()["state"] == "running"
    assert answer.json()["cancel_requested_at"] is not None
    with running.database.session() as session:
        finish(session, job_id, held.attempt, outcome=Outcome.CANCELLED)
    assert http.get(f"/v1/jobs/{job_id}").json()["state"] == "cancelled"
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202


def test_list_filters(http: httpx.Client, spec: dict[str, Any]) -> None:
    one = create(http, spec, name="alpha one", labels={"g": "filters", "n": "1"})["id"]
    two = create(http, spec, name="beta two", labels={"g": "filters", "n": "2"})["id"]
    http.post(f"/v1/jobs/{two}/cancel")

    def ids(**params: Any) -> list[str]:
        answer = http.get("/v1/jobs", params={"label": "g:filters"} | params)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    assert ids() == [two, one], "newest first"
    assert ids(order_by="created_at") == [one, two]
    assert ids(order_by="-name") == [two, one]
    assert ids(state="queued") == [one]
    assert ids(state=["queued", "cancelled"]) == [two, one]
    assert ids(label=["g:filters", "n:1"]) == [one]
    assert ids(q="BETA") == [two]
    assert ids(dataset_id="other") == []
    assert ids(kind="train") == [two, one]
    assert ids(sweep_id="swp_none") == []
    created_at = http.get(f"/v1/jobs/{one}").json()["created_at"]
    assert ids(created_after=created_at) == [two]
    assert ids(created_before=created_at) == []
    assert "config" not in http.get("/v1/jobs").json()["items"][0]


def test_pages_cover_the_list_once_while_jobs_arrive(
    http: httpx.Client, spec: dict[str, Any]
) -> None:
    made = [create(http, spec, labels={"g": "pages"})["id"] for _ in range(5)]
    seen: list[str] = []
    params: dict[str, Any] = {"label": "g:pages", "page_size": 2}
    while True:
        page = http.get("/v1/jobs", params=params).json()
        seen += [item["id"] for item in page["items"]]
        create(http, spec, labels={"g": "pages"})
        if page["next_page_token"] is None:
            break
        params["page_token"] = page["next_page_token"]
    assert seen == made[::-1]


@pytest.mark.parametrize("token", ["x", "WyJhIl0", "%%%", "\u00e9", "W10=", "a" * 1500])
def test_foreign_page_tokens_are_refused(http: httpx.Client, token: str) -> None:
    answer = http.get("/v1/jobs", params={"page_token": token})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/query/page_token"


def test_page_token_belongs_to_its_filters(http: httpx.Client, spec: dict[str, Any]) -> None:
    for _ in range(2):
        create(http, spec, labels={"g": "bound"})
    page = http.get("/v1/jobs", params={"page_size": 1, "label": "g:bound"}).json()
    answer = http.get("/v1/jobs", params={"page_size": 1, "page_token": page["next_page_token"]})
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["", "/events", "/stream", "/metrics", "/logs", "/attempts"])
@pytest.mark.parametrize("job_id", [NOBODY, "job_x", "nope", "job_%00", "..%2fetc", "job_'; --"])
def test_unknown_and_malformed_ids_are_404(http: httpx.Client, path: str, job_id: str) -> None:
    answer = http.get(f"/v1/jobs/{job_id}{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not-found"


def test_cancel_of_an_unknown_job_is_404(http: httpx.Client) -> None:
    assert http.post(f"/v1/jobs/{NOBODY}/cancel").status_code == 404
