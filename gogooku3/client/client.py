"""The client of a gogooku3 server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from gogooku3.client.checkpoints import Checkpoints
from gogooku3.client.datasets import Datasets
from gogooku3.client.jobs import Jobs
from gogooku3.client.resources import Job, Queue, Worker
from gogooku3.client.sweeps import Sweeps
from gogooku3.client.transport import Transport

DEFAULT_URL = "http://127.0.0.1:8642"


class Client:
    """Talks to a server: `client.jobs`, `client.sweeps`, `client.datasets`, `client.checkpoints`,
    a few questions.

    `url` and `api_key` default to `GOGOOKU3_URL` (else a server on this machine) and
    `GOGOOKU3_API_KEY`. `timeout_s` is for one answer, `retry_for_s` is how long a server that
    does not answer is tried again.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 45.0,
        retry_for_s: float = 30.0,
    ) -> None:
        self._transport = self._connect(
            url or os.environ.get("GOGOOKU3_URL") or DEFAULT_URL,
            api_key or os.environ.get("GOGOOKU3_API_KEY"),
            timeout_s=timeout_s,
            retry_for_s=retry_for_s,
        )
        self.checkpoints = Checkpoints(self._transport)
        self.jobs = Jobs(self._transport, self.checkpoints)
        self.sweeps = Sweeps(self._transport, self.checkpoints)
        self.datasets = Datasets(self._transport, self.jobs)

    def _connect(self, url: str, api_key: str | None, **options: Any) -> Transport:
        return Transport(url, api_key, **options)

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    def version(self) -> dict[str, Any]:
        """What runs on the server."""
        answer: dict[str, Any] = self._transport.request("GET", "/v1/version").json()
        return answer

    def workers(self) -> Sequence[Worker]:
        """The workers, most recently heard of first."""
        return [Worker.model_validate(item) for item in self._items("/v1/workers")]

    def queue(self, *, limit: int = 100) -> Queue:
        """What waits, why, behind whom, and when it is likely to begin."""
        response = self._transport.request("GET", "/v1/queue", params={"limit": limit})
        return Queue.model_validate_json(response.content)

    def move(self, job_id: str, *, before: str | None = None, after: str | None = None) -> Job:
        """Put a queued job right before or after another, or else at the front of the queue."""
        body: dict[str, Any] = {"job": job_id, "front": before is None and after is None}
        places = {"before": before, "after": after}
        body |= {name: other for name, other in places.items() if other is not None}
        response = self._transport.request("POST", "/v1/queue/move", json=body)
        return Job.model_validate_json(response.content)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _items(self, path: str) -> list[Any]:
        items: list[Any] = []
        token: str | None = None
        while True:
            page = self._transport.request("GET", path, params={"page_token": token}).json()
            items += page["items"]
            token = page.get("next_page_token")
            if token is None:
                return items
