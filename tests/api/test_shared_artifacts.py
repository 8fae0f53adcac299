"""The same answers when the files lie in an object store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.jobs.record import record
from app.settings import Settings
from gogooku3.events import CheckpointEvent

CONTENT = bytes(range(256)) * 40_000  # more than one piece
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def shared(
    serve: Any, bucket: Any, settings: Settings, dataset: Any, database_url: str, redis_url: str
) -> Iterator[Any]:
    """A server whose artifacts are objects."""
    own = Settings(home=settings.home, artifacts_url="s3://models/team")
    with serve(own, database_url, redis_url, open_access=True) as one:
        yield one


def test_downloads_and_logs_come_from_the_store(
    shared: Any, bucket: Any, spec: dict[str, Any], tmp_path: Path
) -> None:
    with httpx.Client(base_url=shared.url, trust_env=False, timeout=60) as http:
        job_id = http.post("/v1/jobs", json=spec).json()["id"]
        assert http.get(f"/v1/jobs/{job_id}/logs").text == ""
        held = shared.claim()
        path = f"{held.job_id}/attempt-1/epoch-0001.gk3"
        bucket.put_object(Key=f"team/{path}", Body=CONTENT)
        bucket.put_object(Key=f"team/{job_id}/log.txt", Body=b"one\ntwo\n")
        told = CheckpointEvent(
            epoch=1, path=path, size=len(CONTENT), sha256=SHA256, is_best=True, metrics={}
        )
        with shared.database.session() as session:
            record(session, held.job_id, held.attempt, [told])
        best = http.get(f"/v1/jobs/{job_id}/checkpoints/best").headers["location"]
        whole = http.get(best)
        assert whole.content == CONTENT
        assert whole.headers["etag"] == f'"{SHA256}"'
        part = http.get(best, headers={"Range": "bytes=9000000-9000009"})
        assert part.status_code == 206
        assert part.content == CONTENT[9_000_000:9_000_010]
        known = http.get(best, headers={"If-None-Match": whole.headers["etag"]})
        assert known.status_code == 304
        assert http.get(f"/v1/jobs/{job_id}/logs", params={"tail": 1}).text == "two\n"
        assert http.get(f"/v1/jobs/{job_id}/logs", params={"after": 4}).text == "two\n"
        assert http.get(f"/v1/jobs/{job_id}/predictions").status_code == 404
        bucket.Object(f"team/{path}").delete()
        assert http.get(best).status_code == 410


def test_store_that_is_away_is_unavailable(
    shared: Any, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with httpx.Client(base_url=shared.url, trust_env=False, timeout=60) as http:
        job_id = http.post("/v1/jobs", json=spec).json()["id"]
        system = shared.app.state.server.artifacts._system
        monkeypatch.setattr(system, "info", _refuse)
        monkeypatch.setattr(system, "pipe_file", _refuse)
        answer = http.get(f"/v1/jobs/{job_id}/logs")
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert "secret" not in answer.text, "what the store said is for the server's log"


def _refuse(*_: Any, **__: Any) -> None:
    raise PermissionError("the secret handshake failed")
