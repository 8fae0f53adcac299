"""Pausing, resuming, retrying, cloning and changing jobs over HTTP."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from gogooku3.client import ApiError, Client

NOBODY = "job_00000000000000000000000000"
FAILURE = {"class": "user", "code": "bad", "message": "m", "next_action": None}


def create(http: httpx.Client, spec: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answer = http.post("/v1/jobs", json=copy.deepcopy(spec) | changes)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def states(http: httpx.Client, job_id: str) -> list[str]:
    events = http.get(f"/v1/jobs/{job_id}/events", params={"limit": 1000}).json()["items"]
    return [event["payload"]["state"] for event in events if event["type"] == "state"]


def test_pause_and_resume(http: httpx.Client, spec: dict[str, Any]) -> None:
    job_id = create(http, spec)["id"]
    for action, state in (("pause", "paused"), ("resume", "queued")):
        for _ in range(2):
            answer = http.post(f"/v1/jobs/{job_id}/{action}")
            assert answer.status_code == 202, answer.text
            assert answer.json()["state"] == state
    assert states(http, job_id) == ["queued", "paused", "queued"]
    http.post(f"/v1/jobs/{job_id}/cancel")


def test_retry_of_a_failed_job(http: httpx.Client, running: Any, spec: dict[str, Any]) -> None:
    create(http, spec, priority=900)
    claimed = running.claim()
    with running.database.session() as session:
        finish(session, claimed.job_id, 1, outcome=Outcome.FAILED, reason=FAILURE)
    answer = http.post(f"/v1/jobs/{claimed.job_id}/retry")
    assert answer.status_code == 202, answer.text
    assert (answer.json()["state"], answer.json()["retries"]) == ("queued", 1)
    assert answer.json()["reason"] is None
    http.post(f"/v1/jobs/{claimed.job_id}/cancel")
    scratch = http.post(f"/v1/jobs/{claimed.job_id}/retry", params={"from_scratch": "true"})
    assert scratch.json()["retries"] == 2
    http.post(f"/v1/jobs/{claimed.job_id}/cancel")


def test_a_wrong_state_is_said(http: httpx.Client, spec: dict[str, Any]) -> None:
    job_id = create(http, spec)["id"]
    answer = http.post(f"/v1/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid-state")
    http.post(f"/v1/jobs/{job_id}/cancel")
    for action in ("pause", "resume"):
        answer = http.post(f"/v1/jobs/{job_id}/{action}")
        assert (answer.status_code, answer.json()["code"]) == (409, "invalid-state")
    for action in ("pause", "resume", "retry", "clone"):
        assert http.post(f"/v1/jobs/{NOBODY}/{action}").status_code == 404


def test_a_clone_takes_overrides_and_keeps_its_lineage(
    http: httpx.Client, spec: dict[str, Any]
) -> None:
    job = create(http, spec)
    overrides = {"labels": {"copy": "yes"}, "config": {"model": {"hidden_size": 32}, "seed": 9}}
    answer = http.post(f"/v1/jobs/{job['id']}/clone", json=overrides)
    assert answer.status_code == 201, answer.text
    clone = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{clone['id']}"
    assert clone["parent_id"] == job["id"]
    assert clone["labels"] == {"team": "red", "copy": "yes"}
    assert (clone["config"]["seed"], clone["config"]["model"]["hidden_size"]) == (9, 32)
    assert clone["config"]["max_epochs"] == job["config"]["max_epochs"]
    assert clone["config_sources"]["optimizer.lr"] == "default"
    plain = http.post(f"/v1/jobs/{job['id']}/clone").json()
    assert (plain["config"], plain["name"]) == (job["config"], job["name"])


def test_a_clone_is_checked_like_a_new_job(http: httpx.Client, spec: dict[str, Any]) -> None:
    job_id = create(http, spec)["id"]
    bad = http.post(f"/v1/jobs/{job_id}/clone", json={"config": {"max_epoch": 1}})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/config/max_epoch")
    listed = http.post(f"/v1/jobs/{job_id}/clone", json=[1])
    assert (listed.status_code, listed.json()["code"]) == (422, "invalid-spec")
    dry = http.post(
        f"/v1/jobs/{job_id}/clone", params={"validate_only": "true"}, json={"config": {"seed": 3}}
    )
    assert (dry.status_code, dry.json()["config"]["seed"]) == (200, 3)
    assert len(http.get("/v1/jobs", params={"q": job_id}).json()["items"]) == 1


def test_a_clone_is_made_once_under_a_key(http: httpx.Client, spec: dict[str, Any]) -> None:
    job_id = create(http, spec)["id"]
    headers = {"Idempotency-Key": "clone-1"}
    first = http.post(f"/v1/jobs/{job_id}/clone", json={"priority": 3}, headers=headers)
    again = http.post(f"/v1/jobs/{job_id}/clone", json={"priority": 3}, headers=headers)
    assert again.json() == first.json()
    other = http.post(f"/v1/jobs/{job_id}/clone", json={"priority": 4}, headers=headers)
    assert other.status_code == 422


def test_patch_changes_what_is_given(http: httpx.Client, spec: dict[str, Any]) -> None:
    job_id = create(http, spec, note="old")["id"]
    read = http.get(f"/v1/jobs/{job_id}")
    answer = http.patch(
        f"/v1/jobs/{job_id}",
        json={"labels": {"a": "1", "team": None}, "priority": 7},
        headers={"If-Match": read.headers["etag"]},
    )
    assert answer.status_code == 200, answer.text
    assert (answer.json()["labels"], answer.json()["priority"]) == ({"a": "1"}, 7)
    assert answer.json()["note"] == "old"
    now = http.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": answer.headers["etag"]})
    assert now.status_code == 304
    stale = http.patch(
        f"/v1/jobs/{job_id}", json={"note": None}, headers={"If-Match": read.headers["etag"]}
    )
    assert (stale.status_code, stale.json()["code"]) == (412, "changed")
    assert http.patch(f"/v1/jobs/{job_id}", json={"note": None}).json()["note"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"prioriti": 1}, "/prioriti"),
        ({"priority": 2000}, "/priority"),
        ({"labels": {"a": 1}}, "/labels/a"),
        ({"state": "failed"}, "/state"),
        ({"note": "a\x00"}, "/note"),
    ],
)
def test_patch_says_what_is_wrong(
    http: httpx.Client, spec: dict[str, Any], body: dict[str, Any], pointer: str
) -> None:
    job_id = create(http, spec)["id"]
    answer = http.patch(f"/v1/jobs/{job_id}", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_patch_bounds_the_labels(http: httpx.Client, spec: dict[str, Any]) -> None:
    job_id = create(http, spec)["id"]
    for part in range(2):
        labels = {f"l{part}-{n}": "x" for n in range(40)}
        answer = http.patch(f"/v1/jobs/{job_id}", json={"labels": labels})
    assert answer.json()["errors"][0]["code"] == "too-many-labels"


def test_fifty_equal_posts_at_once_are_one_job(http: httpx.Client, spec: dict[str, Any]) -> None:
    together = threading.Barrier(50)
    spec["labels"] = {"only": "one"}

    def post(_: int) -> httpx.Response:
        together.wait()
        return http.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "fifty"})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    ids = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    found = http.get("/v1/jobs", params={"label": "only:one"}).json()["items"]
    assert [job["id"] for job in found] == sorted(ids)
    assert len(found) == 1


def test_a_hundred_cancels_at_once_are_one_move(http: httpx.Client, spec: dict[str, Any]) -> None:
    job_id = create(http, spec)["id"]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: http.post(f"/v1/jobs/{job_id}/cancel"), range(100)))
    assert {answer.status_code for answer in answers} == {202}
    assert states(http, job_id) == ["queued", "cancelled"]


def test_the_client_does_it_all(running: Any, spec: dict[str, Any]) -> None:
    with Client(running.url) as client:
        job = client.jobs.create(spec)
        assert client.jobs.pause(job.id).state == "paused"
        assert client.jobs.resume(job.id).state == "queued"
        assert client.jobs.update(job.id, {"priority": 5}).priority == 5
        clone = client.jobs.clone(job.id, {"name": "copy"})
        assert (clone.parent_id, clone.name) == (job.id, "copy")
        with pytest.raises(ApiError) as caught:
            client.jobs.update(job.id, {"note": "n"}, etag='"old"')
        assert caught.value.code == "changed"
        client.jobs.cancel(job.id)
        assert client.jobs.retry(job.id, from_scratch=True).state == "queued"
