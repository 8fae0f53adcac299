"""The asynchronous client: `from gogooku3.client import AsyncClient`.

Each method is the plain client's, made awaitable; a test holds the two side by side.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from gogooku3.client.awaiting import AwaitingTransport, awaited, iterated, spawn
from gogooku3.client.checkpoints import Checkpoints
from gogooku3.client.client import Client
from gogooku3.client.datasets import Datasets
from gogooku3.client.jobs import Jobs
from gogooku3.client.sweeps import Sweeps
from gogooku3.client.transport import Transport


class AsyncJobs:
    """The jobs of a server."""

    def __init__(self, plain: Jobs) -> None:
        self.plain = plain

    create = awaited(Jobs.create)
    check = awaited(Jobs.check)
    get = awaited(Jobs.get)
    list = iterated(Jobs.list)
    cancel = awaited(Jobs.cancel)
    pause = awaited(Jobs.pause)
    resume = awaited(Jobs.resume)
    retry = awaited(Jobs.retry)
    clone = awaited(Jobs.clone)
    update = awaited(Jobs.update)
    events = iterated(Jobs.events)
    stream = iterated(Jobs.stream)
    metrics = awaited(Jobs.metrics)
    logs = awaited(Jobs.logs)
    follow_logs = iterated(Jobs.follow_logs)
    attempts = awaited(Jobs.attempts)
    checkpoints = awaited(Jobs.checkpoints)
    best_checkpoint = awaited(Jobs.best_checkpoint)
    last_checkpoint = awaited(Jobs.last_checkpoint)
    predictions = awaited(Jobs.predictions)
    daily = awaited(Jobs.daily)
    importance = awaited(Jobs.importance)
    wait = awaited(Jobs.wait)


class AsyncSweeps:
    """The sweeps of a server."""

    def __init__(self, plain: Sweeps) -> None:
        self.plain = plain

    create = awaited(Sweeps.create)
    check = awaited(Sweeps.check)
    preview = awaited(Sweeps.preview)
    get = awaited(Sweeps.get)
    list = iterated(Sweeps.list)
    trials = iterated(Sweeps.trials)
    best = awaited(Sweeps.best)
    best_checkpoint = awaited(Sweeps.best_checkpoint)
    importances = awaited(Sweeps.importances)
    parallel = awaited(Sweeps.parallel)
    slice = awaited(Sweeps.slice)
    history = awaited(Sweeps.history)
    pareto = awaited(Sweeps.pareto)
    cancel = awaited(Sweeps.cancel)
    pause = awaited(Sweeps.pause)
    resume = awaited(Sweeps.resume)
    extend = awaited(Sweeps.extend)
    retain = awaited(Sweeps.retain)
    wait = awaited(Sweeps.wait)


class AsyncDatasets:
    """The datasets of a server."""

    def __init__(self, plain: Datasets) -> None:
        self.plain = plain

    create = awaited(Datasets.create)
    check = awaited(Datasets.check)
    list = iterated(Datasets.list)
    get = awaited(Datasets.get)
    wait = awaited(Datasets.wait)
    delete = awaited(Datasets.delete)


class AsyncCheckpoints:
    """The checkpoints of a server, by their own identifiers."""

    def __init__(self, plain: Checkpoints) -> None:
        self.plain = plain

    get = awaited(Checkpoints.get)
    download = awaited(Checkpoints.download)


class _Awaiting(Client):
    """The plain client over asynchronous connections; used inside `spawn` only."""

    def _connect(self, url: str, api_key: str | None, **options: Any) -> Transport:
        return AwaitingTransport(url, api_key, **options)


class AsyncClient:
    """Talks to a server as `Client` does, with `await`, `async for` and `async with`.

    `url`, `api_key`, `timeout_s` and `retry_for_s` are those of `Client`. One client serves many
    tasks at once.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 45.0,
        retry_for_s: float = 30.0,
    ) -> None:
        self.plain = _Awaiting(url, api_key, timeout_s=timeout_s, retry_for_s=retry_for_s)
        self.jobs = AsyncJobs(self.plain.jobs)
        self.sweeps = AsyncSweeps(self.plain.sweeps)
        self.datasets = AsyncDatasets(self.plain.datasets)
        self.checkpoints = AsyncCheckpoints(self.plain.checkpoints)

    @property
    def url(self) -> str:
        """The server's address."""
        return self.plain.url

    version = awaited(Client.version)
    workers = awaited(Client.workers)
    queue = awaited(Client.queue)
    move = awaited(Client.move)

    async def close(self) -> None:
        """Close the connections."""
        await spawn(self.plain.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
