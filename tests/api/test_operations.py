"""Health, readiness, workers, datasets: what an operator looks at."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.api.json_log import JsonLines
from app.jobs import workers


def test_root_leads_to_something_readable(http: httpx.Client) -> None:
    answer = http.get("/", follow_redirects=True)
    assert answer.status_code == 200
    assert "text/html" in answer.headers["content-type"]


def test_version(http: httpx.Client) -> None:
    assert set(http.get("/v1/version").json()) == {"version", "api", "python"}


def test_readiness_follows_the_newest_worker(running: Any, http: httpx.Client) -> None:
    def ready() -> tuple[int, str]:
        answer = http.get("/readyz")
        return answer.status_code, answer.json()["checks"]["worker"]

    assert ready() == (503, "none has started")
    with running.database.session() as session:
        worker = workers.register(session, host="h", pid=1, slots=2, device="cpu")
    assert ready() == (200, "ok")
    assert http.get("/readyz").json()["checks"] == {
        "database": "ok",
        "broker": "ok",
        "worker": "ok",
    }
    listed = http.get("/v1/workers").json()["items"]
    assert [(one["id"], one["slots"], one["is_alive"]) for one in listed] == [(worker.id, 2, True)]
    with running.database.session() as session:
        session.execute(text("UPDATE workers SET heartbeat_at = now() - interval '10 minutes'"))
    assert ready()[0] == 503
    assert http.get("/v1/workers").json()["items"][0]["is_alive"] is False
    with running.database.session() as session:
        workers.heartbeat(session, worker.id, [{"job_id": "job_x", "attempt": 1, "slot": 0}])
    assert ready() == (200, "ok")
    assert http.get("/v1/workers").json()["items"][0]["current"][0]["job_id"] == "job_x"
    with running.database.session() as session:
        workers.stop(session, worker.id)
    assert ready()[0] == 503


def test_readiness_names_a_missing_broker(serve: Any, settings: Any, database_url: str) -> None:
    with serve(settings, database_url, "redis://127.0.0.1:1/0", open_access=True) as other:
        answer = httpx.get(f"{other.url}/readyz", trust_env=False, timeout=30)
    assert answer.status_code == 503
    assert answer.json()["checks"]["broker"] != "ok"
    assert answer.json()["checks"]["database"] == "ok"


def test_datasets_are_listed_and_described(http: httpx.Client, dataset: Any) -> None:
    page = http.get("/v1/datasets").json()
    assert [item["id"] for item in page["items"]] == ["tiny"]
    assert page["next_page_token"] is None
    one = http.get("/v1/datasets/tiny")
    body = one.json()
    assert body["rows"] == dataset.rows
    assert body["days"] == len(dataset.calendar)
    assert body["fingerprint"] == dataset.fingerprint
    assert [feature["name"] for feature in body["features"]] == list(dataset.feature_names)
    assert body["planted"]["rank_ic"]
    headers = {"If-None-Match": one.headers["etag"]}
    assert http.get("/v1/datasets/tiny", headers=headers).status_code == 304


def test_datasets_in_pages(running: Any, http: httpx.Client) -> None:
    caches = running.settings.caches
    copies = [caches / f"copy-{number}.arrow" for number in range(3)]
    for copy in copies:
        copy.hardlink_to(caches / "tiny.arrow")
    try:
        seen: list[str] = []
        params: dict[str, Any] = {"page_size": 2}
        while True:
            page = http.get("/v1/datasets", params=params).json()
            seen += [item["id"] for item in page["items"]]
            if page["next_page_token"] is None:
                break
            params["page_token"] = page["next_page_token"]
        assert seen == ["copy-0", "copy-1", "copy-2", "tiny"]
    finally:
        for copy in copies:
            copy.unlink()


@pytest.mark.parametrize("name", ["none", "..%2ftiny", "tiny.arrow", "%00", "a" * 65])
def test_unknown_dataset_is_404_and_shows_no_path(
    running: Any, http: httpx.Client, name: str
) -> None:
    answer = http.get(f"/v1/datasets/{name}")
    assert answer.status_code == 404
    assert str(running.settings.home) not in answer.text


def test_damaged_dataset_is_409_and_leaves_the_list_alone(
    running: Any, http: httpx.Client, spec: dict[str, Any]
) -> None:
    path = running.settings.caches / "broken.arrow"
    path.write_bytes(b"not an arrow file")
    try:
        answer = http.get("/v1/datasets/broken")
        assert answer.status_code == 409
        assert answer.json()["code"] == "dataset-corrupt"
        assert str(running.settings.home) not in answer.text
        assert [one["id"] for one in http.get("/v1/datasets").json()["items"]] == ["tiny"]
        refused = http.post("/v1/jobs", json=spec | {"dataset": "broken"})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == "/dataset"
    finally:
        path.unlink()


def test_log_lines_are_json_with_request_and_job(
    http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="gogooku3.api"):
        http.get("/v1/jobs/job_00000000000000000000000000", headers={"X-Request-Id": "seen"})
        # The line is written once the answer has been sent: we may be here before it.
        deadline = time.monotonic() + 10
        while not (found := [r for r in caplog.records if getattr(r, "request_id", "") == "seen"]):
            assert time.monotonic() < deadline, "no log line"
            time.sleep(0.02)
    record = found[0]
    line = json.loads(JsonLines().format(record))
    assert line["job_id"] == "job_00000000000000000000000000"
    assert (line["method"], line["status"]) == ("GET", 404)
    try:
        raise ValueError("cause")
    except ValueError:
        failed = logging.LogRecord("x", logging.ERROR, "f", 1, "m", None, sys.exc_info())
    assert "ValueError: cause" in json.loads(JsonLines().format(failed))["traceback"]
