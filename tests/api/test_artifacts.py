"""Metrics, logs and checkpoints of a job over HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.jobs.points import NewPoint, store_points
from app.jobs.record import record
from gogooku3.events import CheckpointEvent, EpochEvent

CONTENT = bytes(range(256)) * 9000  # more than one chunk, so that a file is streamed in pieces


@pytest.fixture(scope="module")
def trained(running: Any, template: dict[str, Any]) -> Any:
    """A running job with 600 epochs of metrics, a log and two checkpoints; the first is best."""
    created = httpx.post(
        f"{running.url}/v1/jobs", json=template | {"priority": 1000}, trust_env=False, timeout=30
    ).json()
    held = running.claim()
    assert held.job_id == created["id"]
    folder: Path = running.settings.artifacts / held.job_id / "attempt-1"
    folder.mkdir(parents=True)
    (folder.parent / "log.txt").write_text("line one\nzweite Zeile: ü\n三行目\n", encoding="utf-8")
    points = [
        NewPoint(name, epoch, value)
        for epoch in range(1, 601)
        # Peaks and an undefined value that thinning out must not lose.
        for name, value in (
            ("valid/rank_ic", 9.0 if epoch == 333 else 0.001 * (epoch % 7)),
            ("valid/rank_ic@5", None if epoch == 1 else 0.5),
            ("train/loss", -5.0 if epoch == 444 else 1.0),
        )
    ]
    events = []
    for epoch, is_best in ((1, True), (2, False)):
        content = CONTENT + bytes([epoch])
        name = f"{held.job_id}/attempt-1/epoch-{epoch:04d}.gk3"
        (running.settings.artifacts / name).write_bytes(content)
        events.append(
            CheckpointEvent(
                epoch=epoch,
                path=name,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                is_best=is_best,
                metrics={"valid/rank_ic": epoch / 10, "valid/icir": None},
            )
        )
    with running.database.session() as session:
        record(session, held.job_id, held.attempt, events)
        store_points(session, held.job_id, held.attempt, points)
    return held


@pytest.fixture
def queued(http: httpx.Client, spec: dict[str, Any]) -> str:
    """A job that has not been started."""
    return str(http.post("/v1/jobs", json=spec | {"priority": -1000}).json()["id"])


def series(http: httpx.Client, job_id: str, **params: Any) -> dict[str, dict[str, Any]]:
    """The metrics by name."""
    answer = http.get(f"/v1/jobs/{job_id}/metrics", params=params)
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["series"]}


def test_metrics_are_thinned_out_without_losing_peaks(http: httpx.Client, trained: Any) -> None:
    found = series(http, trained.job_id, max_points=40)
    assert list(found) == ["train/loss", "valid/rank_ic", "valid/rank_ic@5"]
    for one in found.values():
        assert one["total"] == 600
        assert one["sampled"] is True
        assert len(one["points"]) <= 40
        steps = [point["step"] for point in one["points"]]
        assert (steps[0], steps[-1]) == (1, 600)
        assert steps == sorted(steps)
    values = {point["step"]: point["value"] for point in found["valid/rank_ic"]["points"]}
    assert values[333] == 9.0
    assert min(point["value"] for point in found["train/loss"]["points"]) == -5.0
    assert found["valid/rank_ic@5"]["points"][0]["value"] is None
    assert series(http, trained.job_id, max_points=40) == found, "the same call, the same points"


def test_metrics_by_default_hold_500_points(http: httpx.Client, trained: Any) -> None:
    answer = http.get(f"/v1/jobs/{trained.job_id}/metrics").json()
    assert answer["total"] == 1800
    assert answer["sampled"] is True
    assert all(0 < len(one["points"]) <= 500 for one in answer["series"])


def test_metrics_filters(http: httpx.Client, trained: Any) -> None:
    job_id = trained.job_id
    assert list(series(http, job_id, split="train")) == ["train/loss"]
    assert list(series(http, job_id, names="valid/rank_ic,train/loss")) == [
        "train/loss",
        "valid/rank_ic",
    ]
    assert list(series(http, job_id, names=["valid/rank_ic@5", "none"])) == ["valid/rank_ic@5"]
    part = series(http, job_id, names="train/loss", start=10, end=12)["train/loss"]
    assert [point["step"] for point in part["points"]] == [10, 11, 12]
    assert part["sampled"] is False
    assert part["points"][0]["attempt"] == 1


def test_metrics_of_several_jobs_at_once(http: httpx.Client, trained: Any, queued: str) -> None:
    gone = "job_00000000000000000000000000"
    body = {"jobs": [queued, trained.job_id, gone, queued], "split": "train", "max_points": 40}
    answer = http.post("/v1/metrics/query", json=body)
    assert answer.status_code == 200, answer.text
    empty, full = answer.json()["jobs"]
    assert answer.json()["missing"] == [gone]
    assert (empty["job_id"], empty["series"], empty["total"]) == (queued, [], 0)
    alone = http.get(
        f"/v1/jobs/{trained.job_id}/metrics", params={"split": "train", "max_points": 40}
    )
    assert full == alone.json()


def test_metrics_of_several_jobs_are_asked_for_rightly(http: httpx.Client, trained: Any) -> None:
    wrong = http.post("/v1/metrics/query", json={"jobs": [], "max_point": 3})
    assert wrong.status_code == 422
    assert {e["pointer"] for e in wrong.json()["errors"]} == {"/jobs", "/max_point"}
    assert http.post("/v1/metrics/query", content=b"{").status_code == 400
    assert http.post("/v1/metrics/query?x=1", json={"jobs": ["a"]}).status_code == 422


def test_metrics_of_too_many_points_are_refused(
    http: httpx.Client, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.metrics.MOST_POINTS", 100)
    monkeypatch.setattr("app.api.metrics._answer.__defaults__", (100,))
    answer = http.post("/v1/metrics/query", json={"jobs": [trained.job_id]})
    assert answer.status_code == 422
    [problem] = answer.json()["errors"]
    assert problem["code"] == "too-many-points"


def test_metrics_are_304_until_there_are_new_ones(
    http: httpx.Client, running: Any, trained: Any
) -> None:
    path = f"/v1/jobs/{trained.job_id}/metrics"
    first = http.get(path)
    known = {"If-None-Match": first.headers["etag"]}
    assert http.get(path, headers=known).status_code == 304
    assert http.get(path, params={"max_points": 4}, headers=known).status_code == 200
    with running.database.session() as session:
        epoch = EpochEvent(epoch=601, metrics={"other/new": 1.0}, duration_s=1.0)
        record(session, trained.job_id, trained.attempt, [epoch])
    again = http.get(path, headers=known)
    assert again.status_code == 200
    assert "other/new" in {one["name"] for one in again.json()["series"]}


def test_metrics_before_the_first_epoch_are_empty_and_pollable(
    http: httpx.Client, queued: str
) -> None:
    first = http.get(f"/v1/jobs/{queued}/metrics")
    assert first.json() == {"job_id": queued, "series": [], "total": 0, "sampled": False}
    headers = {"If-None-Match": first.headers["etag"]}
    assert http.get(f"/v1/jobs/{queued}/metrics", headers=headers).status_code == 304


def test_log_in_pieces(http: httpx.Client, trained: Any) -> None:
    path = f"/v1/jobs/{trained.job_id}/logs"
    whole = http.get(path)
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.text == "line one\nzweite Zeile: ü\n三行目\n"
    size = len(whole.content)
    assert [whole.headers[f"x-log-{name}"] for name in ("start", "end", "size")] == [
        "0",
        str(size),
        str(size),
    ]
    pieces = b""
    while len(pieces) < size:
        answer = http.get(path, params={"after": len(pieces), "limit_bytes": 4})
        answer.content.decode("utf-8")
        pieces += answer.content
        assert answer.headers["x-log-end"] == str(len(pieces))
    assert pieces == whole.content
    assert http.get(path, params={"tail": 1}).text == "三行目\n"
    beyond = http.get(path, params={"after": 10**9})
    assert beyond.content == b""
    assert beyond.headers["x-log-size"] == str(size)
    assert http.get(path, params={"after": 1, "tail": 1}).status_code == 422
    assert http.get(path, params={"limit_bytes": 2**20 + 1}).status_code == 422


def test_log_of_a_job_that_has_not_started_is_empty(http: httpx.Client, queued: str) -> None:
    answer = http.get(f"/v1/jobs/{queued}/logs")
    assert answer.status_code == 200
    assert (answer.content, answer.headers["x-log-size"]) == (b"", "0")


def test_log_that_is_a_link_is_not_followed(
    running: Any, http: httpx.Client, queued: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = running.settings.artifacts / queued
    folder.mkdir()
    (folder / "log.txt").symlink_to(secret)
    assert http.get(f"/v1/jobs/{queued}/logs").content == b""


def test_checkpoints_newest_first(http: httpx.Client, trained: Any) -> None:
    items = http.get(f"/v1/jobs/{trained.job_id}/checkpoints").json()["items"]
    assert [(item["epoch"], item["is_best"]) for item in items] == [(2, False), (1, True)]
    assert items[1]["metrics"] == {"valid/rank_ic": 0.1, "valid/icir": None}
    one = http.get(f"/v1/checkpoints/{items[0]['id']}")
    assert one.json() == items[0]
    assert "path" not in items[0]


@pytest.mark.parametrize(("name", "epoch"), [("best", 1), ("last", 2)])
def test_named_checkpoints_lead_to_their_content(
    http: httpx.Client, trained: Any, name: str, epoch: int
) -> None:
    path = f"/v1/jobs/{trained.job_id}/checkpoints/{name}"
    assert http.get(path).status_code == 307
    answer = http.get(path, follow_redirects=True)
    assert answer.status_code == 200
    assert answer.content == CONTENT + bytes([epoch])
    assert answer.headers["content-length"] == str(len(CONTENT) + 1)
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    filename = f"{trained.job_id}-epoch-{epoch:04d}.gk3"
    assert answer.headers["content-disposition"] == f'attachment; filename="{filename}"'


@pytest.mark.parametrize("name", ["best", "last"])
def test_named_checkpoint_before_the_first(http: httpx.Client, queued: str, name: str) -> None:
    answer = http.get(f"/v1/jobs/{queued}/checkpoints/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "no-checkpoint"
    assert http.get(f"/v1/jobs/{queued}/checkpoints").json()["items"] == []


@pytest.fixture
def content(http: httpx.Client, trained: Any) -> str:
    """Path of the best checkpoint's file."""
    answer = http.get(f"/v1/jobs/{trained.job_id}/checkpoints/best")
    return str(answer.headers["location"])


def test_content_by_range(http: httpx.Client, content: str) -> None:
    whole = CONTENT + b"\x01"
    etag = http.head(content).headers["etag"]
    for given, start, end in (
        ("bytes=0-9", 0, 10),
        ("bytes=1000000-", 1_000_000, len(whole)),
        ("bytes=-5", len(whole) - 5, len(whole)),
    ):
        answer = http.get(content, headers={"Range": given, "If-Range": etag})
        assert answer.status_code == 206
        assert answer.content == whole[start:end]
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(whole)}"
        assert answer.headers["content-length"] == str(end - start)
    other = http.get(content, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (other.status_code, len(other.content)) == (200, len(whole))
    outside = http.get(content, headers={"Range": f"bytes={len(whole)}-"})
    assert outside.status_code == 416
    assert outside.headers["content-range"] == f"bytes */{len(whole)}"
    assert outside.headers["content-type"] == "application/problem+json"


def test_content_that_the_client_has_is_304(http: httpx.Client, content: str) -> None:
    head = http.head(content)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(CONTENT) + 1)
    assert head.headers["accept-ranges"] == "bytes"
    answer = http.get(content, headers={"If-None-Match": head.headers["etag"]})
    assert (answer.status_code, answer.content) == (304, b"")


def test_content_whose_file_is_gone_or_replaced_by_a_link_is_410(
    running: Any, http: httpx.Client, trained: Any, content: str
) -> None:
    path = running.settings.artifacts / trained.job_id / "attempt-1" / "epoch-0001.gk3"
    aside = path.rename(path.with_suffix(".aside"))
    try:
        for make in (lambda: None, lambda: path.symlink_to(aside)):
            make()
            answer = http.get(content)
            assert answer.status_code == 410
            assert answer.json()["code"] == "checkpoint-gone"
            assert str(running.settings.home) not in answer.text
    finally:
        path.unlink()
        aside.rename(path)


def test_many_downloads_leave_no_file_open(running: Any, http: httpx.Client, content: str) -> None:
    def open_files() -> int:
        links = list(Path("/proc/self/fd").iterdir())
        return sum(link.is_symlink() and "epoch-0001" in str(link.readlink()) for link in links)

    for _ in range(5):
        with http.stream("GET", content) as answer:
            next(answer.iter_raw())  # leaves in the middle of the file
        http.get(content, headers={"Range": "bytes=0-0"})
        http.head(content)
        http.get(content, headers={"Range": "bytes=99999999-"})
    with httpx.Client(base_url=running.url, trust_env=False) as other:
        for _ in range(100):
            if open_files() == 0:
                break
            other.get("/healthz")
    assert open_files() == 0


@pytest.mark.parametrize("name", ["ckp_00000000000000000000000000", "ckp_x", "..%2f..%2fetc"])
def test_unknown_checkpoint(http: httpx.Client, name: str) -> None:
    for path in (f"/v1/checkpoints/{name}", f"/v1/checkpoints/{name}/content"):
        assert http.get(path).status_code == 404
