"""A trainer's files are hostile input: the server hands them out and never unpickles them."""

from __future__ import annotations

import ast
import hashlib
import pickle
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.artifacts import Artifacts
from app.broker.celery import make_celery
from app.jobs.doctor import examine
from app.jobs.record import record
from app.jobs.retention import Retention, prune
from gogooku3.events import CheckpointEvent, EpochEvent, ResumePointEvent
from gogooku3.outputs import FILES

ROOT = Path(__file__).parents[2]
UNPICKLES = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch"}


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def test_nothing_that_a_trainer_leaves_is_unpickled(
    http: httpx.Client, running: Any, spec: dict[str, Any], tmp_path: Path
) -> None:
    mark = tmp_path / "unpickled"
    content = pickle.dumps(Trap(mark))
    job_id = http.post("/v1/jobs", json=spec | {"priority": 1000}).json()["id"]
    held = running.claim()
    folder = running.settings.artifacts / job_id / "attempt-1"
    folder.mkdir(parents=True)
    for name in ("epoch-0001.gk3", "resume.pt", *FILES):
        (folder / name).write_bytes(content)
    (folder.parent / "log.txt").write_bytes(content)
    told = [
        EpochEvent(epoch=1, metrics={"valid/rank_ic": 0.1}, duration_s=1.0),
        CheckpointEvent(
            epoch=1,
            path=f"{job_id}/attempt-1/epoch-0001.gk3",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            is_best=True,
            metrics={"valid/rank_ic": 0.1},
        ),
        ResumePointEvent(epoch=1, step=0, path=f"{job_id}/attempt-1/resume.pt"),
    ]
    with running.database.session() as session:
        record(session, job_id, held.attempt, told)
    one = http.get(f"/v1/jobs/{job_id}/checkpoints").json()["items"][0]["id"]
    assert http.get(f"/v1/checkpoints/{one}/content").content == content, "bytes in, bytes out"
    assert http.get(f"/v1/checkpoints/{one}").status_code == 200
    assert http.get(f"/v1/jobs/{job_id}/logs").content == content
    for damaged in ("predictions", "daily", "importance"):
        assert http.get(f"/v1/jobs/{job_id}/{damaged}").status_code == 404, damaged
    artifacts = Artifacts(running.settings.artifacts)
    with running.database.session() as session:
        examine(session, artifacts)
    list(prune(running.database, artifacts, Retention(checkpoints_days=1), dry_run=True))
    assert not mark.exists()
    pickle.loads(content)  # what the server must not do
    assert mark.exists(), "the trap works"


@pytest.mark.parametrize("package", ["app", "worker"])
def test_server_and_worker_import_nothing_that_unpickles(package: str) -> None:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found += [f"{path.name}: {n}" for n in names if n.partition(".")[0] in UNPICKLES]
    assert found == []


def test_messages_are_json_alone() -> None:
    celery = make_celery("redis://127.0.0.1:1/0")
    assert list(celery.conf.accept_content) == ["json"]
    assert celery.conf.task_serializer == "json"
