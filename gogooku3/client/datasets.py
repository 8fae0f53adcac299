"""`client.datasets`: build, look at, wait for and delete datasets."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from gogooku3.client.errors import BuildError
from gogooku3.client.jobs import Jobs
from gogooku3.client.resources import Dataset, Job
from gogooku3.client.transport import Transport
from gogooku3.config import DatasetSpec


class Datasets:
    """The datasets of a server."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._transport = transport
        self._jobs = jobs

    def create(
        self, spec: DatasetSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Job:
        """Start the job that builds a dataset. Repeated by itself under one key, it is still one
        job. Raises ApiError: `dataset-exists`, `in-use`, `invalid-spec`."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        response = self._transport.request(
            "POST", "/v1/datasets", json=_plain(spec), headers=headers
        )
        return Job.model_validate_json(response.content)

    def check(self, spec: DatasetSpec | Mapping[str, Any]) -> dict[str, Any]:
        """The effective configuration that `create` would give; stores nothing."""
        params = {"validate_only": "true"}
        response = self._transport.request("POST", "/v1/datasets", params=params, json=_plain(spec))
        answer: dict[str, Any] = response.json()
        return answer

    def list(self, *, page_size: int = 100) -> Iterator[Dataset]:
        """Every dataset that a job may name, by name, page by page as they are asked for."""
        token: str | None = None
        while True:
            params = {"page_size": page_size, "page_token": token}
            page = self._transport.request("GET", "/v1/datasets", params=params).json()
            for item in page["items"]:
                yield Dataset.model_validate(item)
            token = page["next_page_token"]
            if token is None:
                return

    def get(self, name: str) -> Dataset:
        """The dataset with its features. Raises ApiError: `unknown-dataset`."""
        response = self._transport.request("GET", _path(name))
        return Dataset.model_validate_json(response.content)

    def wait(self, job: Job | str, *, timeout_s: float | None = None) -> Dataset:
        """The dataset that a job builds, once it has. Raises TimeoutError, BuildError."""
        job_id = job if isinstance(job, str) else job.id
        ended = self._jobs.wait(job_id, timeout_s=timeout_s)
        if ended.state != "succeeded":
            raise BuildError(ended.id, ended.state, ended.reason)
        return self.get(ended.dataset)

    def delete(self, name: str) -> None:
        """Delete a dataset. Raises ApiError: `unknown-dataset`, or `in-use` naming the users."""
        self._transport.request("DELETE", _path(name))


def _path(name: str) -> str:
    return f"/v1/datasets/{quote(name, safe='')}"


def _plain(spec: DatasetSpec | Mapping[str, Any]) -> Any:
    if isinstance(spec, DatasetSpec):
        # Only what was set: the server's record shows defaults as defaults.
        return json.loads(spec.model_dump_json(exclude_unset=True))
    return dict(spec)
