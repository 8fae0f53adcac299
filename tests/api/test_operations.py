"""Health, readiness, workers, datasets: what an operator looks at."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from app.jobs import workers
from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.jobs.record import record
from app.json_log import JsonLines, bind
from gogooku3.events import EpochEvent


def test_root_leads_to_something_readable(http: httpx.Client) -> None:
    answer = http.get("/", follow_redirects=True)
    assert answer.status_code == 200
    assert "text/html" in answer.headers["content-type"]


def test_version(http: httpx.Client) -> None:
    assert set(http.get("/v1/version").json()) == {"version", "api", "python"}


def test_workers_tell_how_busy_their_jobs_keep_them(
    fresh_database: Any, serve: Any, settings: Any, redis_url: str, spec: dict[str, Any]
) -> None:
    with (
        fresh_database() as url,
        serve(settings, url, redis_url, open_access=True) as one,
        httpx.Client(base_url=one.url, trust_env=False, timeout=30) as http,
    ):
        for _ in range(3):
            assert http.post("/v1/jobs", json=spec).status_code == 201
        first, second, ended = (one.claim() for _ in range(3))
        told = [
            (first, {"sys/gpu_util": 0.5, "sys/cpu_util": 0.25}),
            (second, {"sys/cpu_util": 0.75}),
            (ended, {"sys/cpu_util": 9.0}),
        ]
        with one.database.session() as session:
            worker = workers.register(session, host="h", pid=1, slots=3, gpus=("0",))
            current = [
                {"job_id": job.job_id, "attempt": 1, "slot": slot, "slots": [slot]}
                for slot, job in enumerate((first, second, ended))
            ]
            workers.heartbeat(session, worker.id, current)
            idle = workers.register(session, host="h", pid=2, slots=1)

        def utilisation() -> dict[str, Any]:
            items = http.get("/v1/workers").json()["items"]
            return {item["id"]: item["utilisation"] for item in items}

        nothing = {"cpu": None, "gpu": None}
        assert utilisation() == {worker.id: nothing, idle.id: nothing}, "no epoch has ended"
        with one.database.session() as session:
            for job, metrics in told:
                epoch = EpochEvent(epoch=1, metrics=metrics, duration_s=1.0)
                record(session, job.job_id, job.attempt, [epoch])
            finish(session, ended.job_id, ended.attempt, outcome=Outcome.SUCCEEDED)
        assert utilisation() == {worker.id: {"cpu": 0.5, "gpu": 0.5}, idle.id: nothing}


def test_readiness_follows_the_newest_worker(running: Any, http: httpx.Client) -> None:
    def ready() -> tuple[int, str]:
        answer = http.get("/readyz")
        return answer.status_code, answer.json()["checks"]["worker"]

    assert ready() == (503, "none has started")
    with running.database.session() as session:
        worker = workers.register(session, host="h", pid=1, slots=2)
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


def test_readiness_warns_of_a_full_disk(
    running: Any, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running.database.session() as session:
        workers.register(session, host="h", pid=2, slots=1)
    assert http.get("/readyz").json()["warnings"] == []
    usage = shutil.disk_usage("/")._replace(total=10**12, free=10**8)
    monkeypatch.setattr("app.disk.shutil.disk_usage", lambda _: usage)
    answer = http.get("/readyz")
    assert answer.status_code == 200, "jobs still run"
    [warning] = answer.json()["warnings"]
    assert warning.startswith("artifacts: 95 MiB"), warning
    assert "gogooku3_disk_free_bytes 1e+08" in http.get("/metrics").text


def test_readiness_names_an_old_schema(running: Any, http: httpx.Client) -> None:
    with running.database.session() as session:
        newest = session.scalar(text("SELECT version_num FROM alembic_version"))
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    try:
        answer = http.get("/readyz")
    finally:
        with running.database.session() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": newest})
    assert answer.status_code == 503
    assert "schema 0001" in answer.json()["checks"]["database"]
    assert "gogooku3 db upgrade" in answer.json()["detail"]


def figures(http: httpx.Client) -> dict[str, float]:
    """The samples of `/metrics`, by name and labels."""
    answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        sample.name + str(sorted(sample.labels.items()) or ""): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_figures_tell_of_jobs_attempts_and_requests(
    serve: Any,
    settings: Any,
    dataset: Any,
    fresh_database: Any,
    redis_url: str,
    spec: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.api.figures.KEPT_S", 0.0)
    with (
        fresh_database() as url,
        serve(settings, url, redis_url, open_access=True) as one,
        httpx.Client(base_url=one.url, trust_env=False, timeout=30) as http,
    ):
        jobs = [http.post("/v1/jobs", json=spec).json()["id"] for _ in range(3)]
        http.get(f"/v1/jobs/{jobs[0]}")
        http.get("/v1/no-such-thing/1")
        running, failed = one.claim(), one.claim()
        epoch = EpochEvent(epoch=1, metrics={"sys/gpu_util": 0.5}, duration_s=7.0)
        reason = {"class": "oom", "code": "x", "message": "m", "next_action": None}
        with one.database.session() as session:
            record(session, running.job_id, running.attempt, [epoch])
            finish(session, failed.job_id, failed.attempt, outcome=Outcome.FAILED, reason=reason)
            worker = workers.register(session, host="h", pid=1, slots=3, gpus=("0", "1", "2"))
            workers.heartbeat(session, worker.id, [{"job_id": "j", "attempt": 1, "slots": [0, 1]}])
        found = figures(http)
    assert found["gogooku3_queue_depth"] == 1
    assert found["gogooku3_jobs[('kind', 'train'), ('state', 'running')]"] == 1
    assert found["gogooku3_queue_oldest_wait_seconds"] > 0
    assert found["gogooku3_job_wait_seconds_count"] == 2
    assert found["gogooku3_attempt_run_seconds_count"] == 1
    assert found["gogooku3_attempts_ended_total[('class', 'oom'), ('outcome', 'failed')]"] == 1
    assert found["gogooku3_leases_lost_total"] == 0
    assert found["gogooku3_epoch_seconds[('over', 'max')]"] == 7.0
    assert found["gogooku3_gpu_utilisation"] == 0.5
    assert found["gogooku3_slots[('device', 'cuda'), ('state', 'busy')]"] == 2
    assert found["gogooku3_slots[('device', 'cuda'), ('state', 'free')]"] == 1
    labels = "[('method', 'GET'), ('route', '/v1/jobs/{job_id}'), ('status', '200')]"
    assert found[f"gogooku3_http_request_seconds_count{labels}"] == 1
    labels = "[('method', 'GET'), ('route', 'none'), ('status', '404')]"
    assert found[f"gogooku3_http_request_seconds_count{labels}"] == 1


def test_figures_outlive_the_database(serve: Any, settings: Any, redis_url: str) -> None:
    nowhere = "postgresql+psycopg://x@127.0.0.1:1/x"
    with (
        serve(settings, nowhere, redis_url, open_access=True) as one,
        httpx.Client(base_url=one.url, trust_env=False, timeout=30) as http,
    ):
        assert figures(http)["gogooku3_database_up"] == 0


def test_worker_logs_say_which_job_and_request() -> None:
    record = logging.LogRecord("worker", logging.INFO, "f", 1, "started", None, None)
    with bind(job_id="job_1", attempt=2, request_id="req_1"):
        line = json.loads(JsonLines().format(record))
    assert (line["job_id"], line["attempt"], line["request_id"]) == ("job_1", 2, "req_1")
    assert "job_id" not in json.loads(JsonLines().format(record))


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
