"""`client.jobs`: create, look at, follow and steer jobs."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from gogooku3.client.checkpoints import Checkpoints
from gogooku3.client.errors import ApiError
from gogooku3.client.resources import (
    Attempt,
    Checkpoint,
    Daily,
    Event,
    Importance,
    Job,
    LogChunk,
    MetricSeries,
)
from gogooku3.client.sse import messages
from gogooku3.client.transport import Transport
from gogooku3.config import JobSpec

if TYPE_CHECKING:
    import pyarrow as pa

FIRST_POLL_S = 0.2
LONGEST_POLL_S = 2.0


class Jobs:
    """The jobs of a server."""

    def __init__(self, transport: Transport, checkpoints: Checkpoints) -> None:
        self._transport = transport
        self._checkpoints = checkpoints

    def create(
        self, spec: JobSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Job:
        """Submit a job. Repeated by itself under one key, it is still one job. Raises ApiError."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        response = self._transport.request("POST", "/v1/jobs", json=_plain(spec), headers=headers)
        return Job.model_validate_json(response.content)

    def check(self, spec: JobSpec | Mapping[str, Any]) -> dict[str, Any]:
        """The effective configuration that `create` would give; stores nothing."""
        params = {"validate_only": "true"}
        response = self._transport.request("POST", "/v1/jobs", params=params, json=_plain(spec))
        answer: dict[str, Any] = response.json()
        return answer

    def get(self, job_id: str) -> Job:
        """The job as it is now."""
        return Job.model_validate_json(self._get(job_id, "").content)

    def list(
        self,
        /,
        *,
        state: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        dataset_id: str | None = None,
        q: str | None = None,
        order_by: str | None = None,
        page_size: int = 100,
        **filters: Any,
    ) -> Iterator[Job]:
        """Every job that fits, page by page as they are asked for, newest first."""
        params = {
            "state": state,
            "label": label,
            "dataset_id": dataset_id,
            "q": q,
            "order_by": order_by,
            "page_size": page_size,
            **filters,
        }
        token: str | None = None
        while True:
            page = self._transport.request(
                "GET", "/v1/jobs", params={**params, "page_token": token}
            ).json()
            for item in page["items"]:
                yield Job.model_validate(item)
            token = page["next_page_token"]
            if token is None:
                return

    def cancel(self, job_id: str, *, force: bool = False) -> Job:
        """Ask the job to stop, with a checkpoint; `force` kills it."""
        return self._act(job_id, "cancel", force="true" if force else None)

    def pause(self, job_id: str) -> Job:
        """Put the job aside; a running one writes its state first."""
        return self._act(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """Let a paused job go on exactly where it stopped."""
        return self._act(job_id, "resume")

    def retry(self, job_id: str, *, from_scratch: bool = False) -> Job:
        """Try a failed or cancelled job again, from its last state or `from_scratch`."""
        return self._act(job_id, "retry", from_scratch="true" if from_scratch else None)

    def clone(
        self,
        job_id: str,
        overrides: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Job:
        """Submit the job again with some of its specification changed, to any depth."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        response = self._transport.request(
            "POST", f"{_path(job_id)}/clone", json=dict(overrides or {}), headers=headers
        )
        return Job.model_validate_json(response.content)

    def update(self, job_id: str, changes: Mapping[str, Any], *, etag: str | None = None) -> Job:
        """Change `labels` (merged; None removes one), `priority` or `note`.

        With `etag`, only if the job is still as it was then: else ApiError (`changed`).
        """
        headers = {"If-Match": etag} if etag is not None else None
        response = self._transport.request(
            "PATCH", _path(job_id), json=dict(changes), headers=headers
        )
        return Job.model_validate_json(response.content)

    def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Iterator[Event]:
        """The events recorded so far, after sequence number `after`."""
        while True:
            page = self._get(job_id, "/events", params={"after": after, "limit": limit}).json()
            for item in page["items"]:
                yield Event.model_validate(item)
            after = page["next_after"]
            if not page["has_more"]:
                return

    def stream(self, job_id: str, *, after: int = 0) -> Iterator[Event]:
        """Every event after `after`, once and in order, as it happens, until the job is finished.

        Reconnects where it left off. Raises ApiError, or UnreachableError when the server stays
        away for longer than the client's `retry_for_s`.
        """
        backoff = self._transport.backoff()
        while True:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
            try:
                with self._transport.streamed(
                    f"{_path(job_id)}/stream", headers=headers
                ) as response:
                    for message in messages(response.iter_lines()):
                        if message.event == "end":
                            return
                        event = Event.model_validate_json(message.data)
                        after = event.seq
                        backoff.succeeded()
                        yield event
                problem: Exception = ConnectionError("the stream ended early")
            except httpx.TransportError as error:
                problem = error
            except ApiError as error:
                if error.status < 500:
                    raise
                problem = error
            if not backoff.pause():
                raise self._transport.unreachable(problem) from problem

    def metrics(
        self,
        job_id: str,
        *,
        names: Sequence[str] | None = None,
        split: str | None = None,
        start: int | None = None,
        end: int | None = None,
        max_points: int | None = None,
    ) -> dict[str, MetricSeries]:
        """The metrics by name; `max_points` bounds each series without losing its extremes."""
        params = {
            "names": ",".join(names) if names else None,
            "split": split,
            "start": start,
            "end": end,
            "max_points": max_points,
        }
        answer = self._get(job_id, "/metrics", params=params).json()
        series = [MetricSeries.model_validate(item) for item in answer["series"]]
        return {one.name: one for one in series}

    def logs(
        self,
        job_id: str,
        *,
        after: int | None = None,
        tail: int | None = None,
        limit_bytes: int | None = None,
    ) -> LogChunk:
        """A piece of the trainer's log: from byte `after`, or the last `tail` lines."""
        params = {"after": after, "tail": tail, "limit_bytes": limit_bytes}
        response = self._get(job_id, "/logs", params=params)
        return LogChunk(
            text=response.content.decode("utf-8", errors="replace"),
            start=int(response.headers["x-log-start"]),
            end=int(response.headers["x-log-end"]),
            size=int(response.headers["x-log-size"]),
        )

    def follow_logs(self, job_id: str, *, tail: int | None = None) -> Iterator[str]:
        """The log as it grows, until the job is finished."""
        chunk = self.logs(job_id, after=None if tail else 0, tail=tail)
        while True:
            if chunk.text:
                yield chunk.text
            elif chunk.end > chunk.size:
                # It had grown too long, and its beginning was dropped.
                chunk = self.logs(job_id, after=0)
                continue
            elif chunk.end >= chunk.size:
                if self.get(job_id).is_finished:
                    # What was written between the last look and the end.
                    rest = self.logs(job_id, after=chunk.end)
                    while rest.text:
                        yield rest.text
                        rest = self.logs(job_id, after=rest.end)
                    return
                self._transport.sleep(FIRST_POLL_S * 2)
            chunk = self.logs(job_id, after=chunk.end)

    def attempts(self, job_id: str) -> Sequence[Attempt]:
        """The runs of the job, first to last."""
        items = self._get(job_id, "/attempts").json()["items"]
        return [Attempt.model_validate(item) for item in items]

    def checkpoints(self, job_id: str) -> Sequence[Checkpoint]:
        """The job's checkpoints, newest first."""
        items = self._get(job_id, "/checkpoints").json()["items"]
        return [Checkpoint.model_validate(item) for item in items]

    def best_checkpoint(self, job_id: str, path: str | Path) -> Path:
        """Download the best checkpoint to `path`, a file or a folder; returns the file.

        Raises ApiError (`no-checkpoint` before the first), ChecksumError.
        """
        return self._named_checkpoint(job_id, "best", path)

    def last_checkpoint(self, job_id: str, path: str | Path) -> Path:
        """Download the newest checkpoint; otherwise as `best_checkpoint`."""
        return self._named_checkpoint(job_id, "last", path)

    def predictions(self, job_id: str, *, horizon: int | None = None) -> pa.Table:
        """Scores and what happened, of the best epoch so far on the validation split.

        Columns date, code, horizon, score, label (raw forward return; null = unknown); the table's
        metadata has `epoch` and `split`. Raises ApiError (`no-output` before the first epoch).
        """
        import pyarrow as pa  # here because of the time that it takes to load

        params = {"horizon": horizon}
        content = self._get(job_id, "/predictions", params=params).content
        return pa.ipc.open_stream(content).read_all()

    def daily(self, job_id: str, *, names: Sequence[str] | None = None) -> Daily:
        """The daily series behind the metrics of the best epoch so far.

        `names` are such as `rank_ic@5`, or `rank_ic` for all horizons. Raises ApiError.
        """
        params = {"names": ",".join(names) if names else None}
        answer = self._get(job_id, "/daily", params=params).json()
        series = {one["name"]: one["values"] for one in answer["series"]}
        return Daily.model_validate(answer | {"series": series})

    def importance(self, job_id: str, *, epoch: int | None = None) -> Importance:
        """The weights of the model's features, largest first; of the newest epoch by default.

        Raises ApiError (`no-output` for models that don't weigh features).
        """
        answer = self._get(job_id, "/importance", params={"epoch": epoch}).json()
        weights = {one["name"]: one["weight"] for one in answer.pop("features")}
        return Importance.model_validate(answer | {"weights": weights})

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """The job once it is finished, however it ended. Raises TimeoutError."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = FIRST_POLL_S
        while True:
            job = self.get(job_id)
            if job.is_finished:
                return job
            if deadline is not None and time.monotonic() + pause_s > deadline:
                raise TimeoutError(f"{job_id} is still {job.state} after {timeout_s:g} s")
            self._transport.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_POLL_S)

    def _named_checkpoint(self, job_id: str, name: str, path: str | Path) -> Path:
        location = self._get(job_id, f"/checkpoints/{name}").headers["location"]
        return self._checkpoints.download(location.split("/")[-2], path)

    def _act(self, job_id: str, action: str, **params: str | None) -> Job:
        response = self._transport.request("POST", f"{_path(job_id)}/{action}", params=params)
        return Job.model_validate_json(response.content)

    def _get(
        self, job_id: str, below: str, params: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        return self._transport.request("GET", f"{_path(job_id)}{below}", params=params)


def _path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _plain(spec: JobSpec | Mapping[str, Any]) -> Any:
    if isinstance(spec, JobSpec):
        # Only what was set: the server's record shows defaults as defaults.
        return json.loads(spec.model_dump_json(exclude_unset=True))
    return dict(spec)
