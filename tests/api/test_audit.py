"""Every change is told in the audit log, with the change itself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.db.trail import Trail, follow
from app.domain import Scope
from app.jobs import keys


def audit(http: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    """Entries, newest first."""
    answer = http.get("/v1/audit", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def test_change_is_told_with_who_what_and_from_where(
    running: Any, http: httpx.Client, spec: dict[str, Any]
) -> None:
    with running.database.session() as session:
        key, secret = keys.create(session, "submitter", Scope.SUBMIT)
    mine = {"Authorization": f"Bearer {secret}", "X-Request-Id": "req-of-mine"}
    job = http.post("/v1/jobs", json=spec, headers=mine).json()["id"]
    http.post(f"/v1/jobs/{job}/cancel")
    cancelled, submitted = audit(http, target=job)
    assert submitted["actor"] == key.id
    assert (submitted["action"], submitted["target"]) == ("POST /v1/jobs", job)
    assert submitted["created"] == [job]
    assert submitted["request_id"] == "req-of-mine"
    assert submitted["address"] == "127.0.0.1"
    assert (cancelled["actor"], cancelled["action"]) == ("open", "POST /v1/jobs/{job_id}/cancel")
    assert cancelled["target"] == job
    assert cancelled["created"] == []
    assert [entry["actor"] for entry in audit(http, actor=key.id)] == [key.id]


def test_what_changes_nothing_is_not_told(http: httpx.Client, spec: dict[str, Any]) -> None:
    before = len(audit(http, limit=1000))
    http.get("/v1/jobs")
    http.post("/v1/jobs?validate_only=true", json=spec)
    http.post("/v1/jobs", json={"nonsense": 1})
    http.post("/v1/metrics/query", json={"jobs": ["job_x"]})
    http.post("/v1/jobs/job_00000000000000000000000000/cancel")
    assert len(audit(http, limit=1000)) == before


def test_a_replayed_answer_is_one_change(http: httpx.Client, spec: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "audited-once"}
    job = http.post("/v1/jobs", json=spec, headers=headers).json()["id"]
    assert http.post("/v1/jobs", json=spec, headers=headers).json()["id"] == job
    assert len(audit(http, target=job)) == 1


def test_what_is_rolled_back_was_not_done(running: Any, http: httpx.Client) -> None:
    def fail() -> None:
        trail = Trail("req_x", is_change=True, actor="cli:test", action="fails")
        with follow(trail), running.database.session() as session:
            keys.create(session, "never", Scope.READ)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert audit(http, actor="cli:test") == []


def test_the_change_fails_when_it_cannot_be_told(
    running: Any, http: httpx.Client, spec: dict[str, Any]
) -> None:
    """Nothing is changed behind the log's back."""
    jobs = len(http.get("/v1/jobs?page_size=1000").json()["items"])
    with running.database.session() as session:
        session.execute(text("ALTER TABLE audit_log RENAME TO audit_log_away"))
    try:
        assert http.post("/v1/jobs", json=spec).status_code == 500
    finally:
        with running.database.session() as session:
            session.execute(text("ALTER TABLE audit_log_away RENAME TO audit_log"))
    assert len(http.get("/v1/jobs?page_size=1000").json()["items"]) == jobs


def test_pages(http: httpx.Client, spec: dict[str, Any]) -> None:
    for _ in range(3):
        http.post("/v1/jobs", json=spec)
    first = http.get("/v1/audit", params={"limit": 2}).json()
    second = http.get("/v1/audit", params={"limit": 2, "before": first["next_before"]}).json()
    seqs = [entry["seq"] for entry in first["items"] + second["items"]]
    assert seqs == sorted(seqs, reverse=True)
    assert len(set(seqs)) == len(seqs) >= 3
    assert audit(http, after="2999-01-01T00:00:00") == []


def test_only_administrators_read_it(running: Any) -> None:
    with running.database.session() as session:
        _, secret = keys.create(session, "s", Scope.SUBMIT)
    headers = {"Authorization": f"Bearer {secret}"}
    answer = httpx.get(f"{running.url}/v1/audit", headers=headers, trust_env=False)
    assert answer.status_code == 403
