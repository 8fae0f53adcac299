"""The asynchronous client: the same methods as the plain one, on the same live server."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.jobs.record import record
from gogooku3.client import ApiError, AsyncClient, Client, UnreachableError
from gogooku3.client import asynchronous as twins
from gogooku3.events import CheckpointEvent, EpochEvent

OPENAPI = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def methods(kind: type) -> set[str]:
    return {n for n, f in vars(kind).items() if inspect.isfunction(f) and not n.startswith("_")}


@pytest.mark.parametrize("name", ["Jobs", "Sweeps", "Datasets", "Checkpoints", "Client"])
def test_every_method_has_its_twin_with_the_same_parameters(name: str) -> None:
    plain, twin = getattr(twins, name), getattr(twins, f"Async{name}")
    assert methods(plain) == methods(twin)
    for method in methods(plain) - {"close"}:
        first, second = getattr(plain, method), getattr(twin, method)
        assert inspect.signature(first) == inspect.signature(second)
        assert inspect.isgeneratorfunction(first) <= inspect.isasyncgenfunction(second)


def test_a_job_is_created_streamed_and_its_checkpoint_fetched(
    running: Any, spec: dict[str, Any], tmp_path: Path
) -> None:
    async def work() -> None:
        async with AsyncClient(running.url) as client:
            job = await client.jobs.create(spec)
            seen: list[str] = []

            async def watch() -> None:
                async for event in client.jobs.stream(job.id):
                    seen.append(event.type)

            watching = asyncio.create_task(watch())
            waiting = asyncio.create_task(client.jobs.wait(job.id))
            # Two tasks wait on one client while this one goes on: nothing blocks the loop.
            assert (await client.jobs.get(job.id)).state == "queued"
            await asyncio.to_thread(train, running)
            assert (await waiting).state == "succeeded"
            await watching
            assert seen == ["state", "state", "epoch", "checkpoint", "state"]
            assert [one.id async for one in client.jobs.list(q=job.id)] == [job.id]
            path = await client.jobs.best_checkpoint(job.id, tmp_path)
            assert path.read_bytes() == b"weights" * 1000

    run(work())


def test_errors_are_the_plain_client_s(running: Any) -> None:
    async def work() -> None:
        async with AsyncClient(running.url) as client:
            with pytest.raises(ApiError, match="request id: req_"):
                await client.jobs.create({"dataset": "tinny"})
        async with AsyncClient("http://127.0.0.1:9", retry_for_s=0.2) as client:
            with pytest.raises(UnreachableError):
                await client.version()

    run(work())


def test_a_task_that_is_cancelled_leaves_the_client_usable(
    running: Any, spec: dict[str, Any]
) -> None:
    async def work() -> None:
        async with AsyncClient(running.url) as client:
            job = await client.jobs.create(spec)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.jobs.wait(job.id), 0.5)
            stream = client.jobs.stream(job.id)
            assert (await anext(stream)).payload["state"] == "queued"
            await stream.aclose()
            assert (await client.jobs.cancel(job.id)).state == "cancelled"

    run(work())


def test_client_asks_only_for_what_the_description_has() -> None:
    """Every path and method in the client's code is in docs/openapi.json: it cannot drift."""
    known = {(method.upper(), path) for path, found in OPENAPI["paths"].items() for method in found}
    asked: set[tuple[str, str]] = set()

    class Noting(Client):
        def _connect(self, url: str, api_key: str | None, **options: Any) -> Any:
            return _Notes(asked)

    client = Noting("http://nowhere")
    ids = {"Jobs": "job", "Sweeps": "swp", "Datasets": "name", "Checkpoints": "ckp"}
    for name in ids:
        resource = getattr(client, name.lower())
        for method in sorted(methods(getattr(twins, name))):
            call(getattr(resource, method))
    for method in sorted(methods(Client) - {"close"}):
        call(getattr(client, method))
    assert len(asked) > 30
    assert {one for one in asked if not described(one, known)} == set()


class _Stop(Exception):
    pass


class _Notes:
    """A transport that writes down what it is asked."""

    retry_for_s = 1.0

    def __init__(self, asked: set[tuple[str, str]]) -> None:
        self._asked = asked

    def request(self, method: str, path: str, **_options: Any) -> Any:
        self._asked.add((method, path))
        raise _Stop

    def streamed(self, path: str, **_options: Any) -> Any:
        return self.request("GET", path)

    def backoff(self) -> Any:
        return None

    def sleep(self, _seconds: float) -> None:
        return None


def call(method: Any) -> None:
    """Call a method with a value for each parameter that it needs."""
    needed = [
        p
        for p in inspect.signature(method).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    given = [{} if p.name in {"spec", "overrides", "retention", "changes"} else "x" for p in needed]
    with pytest.raises(_Stop):
        next(iter(method(*given)))


def described(asked: tuple[str, str], known: set[tuple[str, str]]) -> bool:
    """Whether a concrete path fits a described one."""
    method, path = asked
    parts = path.split("/")
    return any(
        one == method
        and len(parts) == len(pattern.split("/"))
        and all(p == q or q.startswith("{") for p, q in zip(parts, pattern.split("/"), strict=True))
        for one, pattern in known
    )


def train(running: Any) -> None:
    """What a worker does with the job: one epoch, one checkpoint, the end."""
    held = running.claim()
    content = b"weights" * 1000
    folder = running.settings.artifacts / held.job_id
    folder.mkdir()
    (folder / "epoch.gk3").write_bytes(content)
    metrics = {"valid/rank_ic": 0.1}
    epoch = EpochEvent(epoch=1, metrics=metrics, duration_s=1.0)
    checkpoint = CheckpointEvent(
        epoch=1,
        path=f"{held.job_id}/epoch.gk3",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        is_best=True,
        metrics=metrics,
    )
    with running.database.session() as session:
        record(session, held.job_id, held.attempt, [epoch, checkpoint])
        finish(session, held.job_id, held.attempt, outcome=Outcome.SUCCEEDED)
