"""`client.sweeps`: create, look at, steer sweeps, and fetch what they found."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from gogooku3.client.checkpoints import Checkpoints
from gogooku3.client.jobs import FIRST_POLL_S, LONGEST_POLL_S
from gogooku3.client.resources import BestTrial, Sweep, Trial
from gogooku3.client.transport import Transport
from gogooku3.config import SweepSpec


class Sweeps:
    """The sweeps of a server."""

    def __init__(self, transport: Transport, checkpoints: Checkpoints) -> None:
        self._transport = transport
        self._checkpoints = checkpoints

    def create(
        self, spec: SweepSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Sweep:
        """Create a sweep. Repeated by itself under one key, it is still one. Raises ApiError."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        response = self._transport.request("POST", "/v1/sweeps", json=_plain(spec), headers=headers)
        return Sweep.model_validate_json(response.content)

    def check(self, spec: SweepSpec | Mapping[str, Any]) -> dict[str, Any]:
        """The effective specification that `create` would give; stores nothing."""
        params = {"validate_only": "true"}
        response = self._transport.request("POST", "/v1/sweeps", params=params, json=_plain(spec))
        answer: dict[str, Any] = response.json()
        return answer

    def preview(self, spec: SweepSpec | Mapping[str, Any]) -> dict[str, Any]:
        """Trials, epochs and the first suggestions; stores nothing."""
        response = self._transport.request("POST", "/v1/sweeps/preview", json=_plain(spec))
        answer: dict[str, Any] = response.json()
        return answer

    def get(self, sweep_id: str) -> Sweep:
        """The sweep as it is now."""
        return Sweep.model_validate_json(self._get(sweep_id, "").content)

    def list(
        self,
        *,
        state: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        dataset_id: str | None = None,
        q: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Sweep]:
        """Every sweep that fits, page by page as they are asked for, newest first."""
        params = {
            "state": state,
            "label": label,
            "dataset_id": dataset_id,
            "q": q,
            "page_size": page_size,
        }
        for item in self._pages("/v1/sweeps", params):
            yield Sweep.model_validate(item)

    def trials(
        self, sweep_id: str, *, state: str | Sequence[str] | None = None, page_size: int = 500
    ) -> Iterator[Trial]:
        """The sweep's trials, by number."""
        params = {"state": state, "page_size": page_size}
        for item in self._pages(f"{_path(sweep_id)}/trials", params):
            yield Trial.model_validate(item)

    def best(self, sweep_id: str) -> BestTrial:
        """The best trial. Raises ApiError (`no-complete-trial` before the first)."""
        return BestTrial.model_validate_json(self._get(sweep_id, "/best").content)

    def best_checkpoint(self, sweep_id: str, path: str | Path) -> Path:
        """Download the best trial's best checkpoint to `path`, a file or a folder; returns the
        file.

        Verified by its sha256; a broken download goes on where it ended. Raises ApiError,
        ChecksumError, UnreachableError.
        """
        location = self._get(sweep_id, "/best/checkpoint").headers["location"]
        return self._checkpoints.download(location.split("/")[-2], path)

    def importances(self, sweep_id: str) -> dict[str, Any]:
        """Which parameters mattered, by objective."""
        return self._data(sweep_id, "importances")

    def parallel(self, sweep_id: str) -> dict[str, Any]:
        """The data of a parallel-coordinates plot."""
        return self._data(sweep_id, "parallel")

    def slice(self, sweep_id: str) -> dict[str, Any]:
        """The data of slice plots."""
        return self._data(sweep_id, "slice")

    def history(self, sweep_id: str) -> dict[str, Any]:
        """The value of each complete trial and the best so far."""
        return self._data(sweep_id, "history")

    def pareto(self, sweep_id: str) -> dict[str, Any]:
        """The trials that no other one beats in every objective."""
        return self._data(sweep_id, "pareto")

    def cancel(self, sweep_id: str, *, finish_running: bool = False) -> Sweep:
        """No new trials; what runs is cancelled, or with `finish_running` runs to its end."""
        return self._act(sweep_id, "cancel", finish_running=finish_running)

    def pause(self, sweep_id: str, *, finish_running: bool = False) -> Sweep:
        """No new trials; what runs is paused, or with `finish_running` runs to its end."""
        return self._act(sweep_id, "pause", finish_running=finish_running)

    def resume(self, sweep_id: str) -> Sweep:
        """Let a paused sweep go on."""
        return self._act(sweep_id, "resume")

    def extend(self, sweep_id: str, n_trials: int) -> Sweep:
        """Let the sweep have `n_trials` trials in all."""
        response = self._transport.request(
            "POST", f"{_path(sweep_id)}/extend", json={"n_trials": n_trials}
        )
        return Sweep.model_validate_json(response.content)

    def retain(
        self, sweep_id: str, retention: Mapping[str, int], *, dry_run: bool = False
    ) -> dict[str, Any]:
        """Change which checkpoints are kept (save_sweep_best, save_trial_best,
        save_trial_latest); answers what was removed, or with `dry_run` would be."""
        response = self._transport.request(
            "PUT",
            f"{_path(sweep_id)}/retention",
            params={"dry_run": "true"} if dry_run else None,
            json=dict(retention),
        )
        answer: dict[str, Any] = response.json()
        return answer

    def wait(self, sweep_id: str, *, timeout_s: float | None = None) -> Sweep:
        """The sweep once it is finished, however it ended. Raises TimeoutError."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = FIRST_POLL_S
        while True:
            sweep = self.get(sweep_id)
            if sweep.is_finished:
                return sweep
            if deadline is not None and time.monotonic() + pause_s > deadline:
                raise TimeoutError(f"{sweep_id} is still {sweep.state} after {timeout_s:g} s")
            self._transport.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_POLL_S)

    def _pages(self, path: str, params: Mapping[str, Any]) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self._transport.request(
                "GET", path, params={**params, "page_token": token}
            ).json()
            yield from page["items"]
            token = page["next_page_token"]
            if token is None:
                return

    def _data(self, sweep_id: str, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._get(sweep_id, f"/{name}").json()
        return answer

    def _act(self, sweep_id: str, verb: str, *, finish_running: bool = False) -> Sweep:
        params = {"running": "finish"} if finish_running else None
        response = self._transport.request("POST", f"{_path(sweep_id)}/{verb}", params=params)
        return Sweep.model_validate_json(response.content)

    def _get(self, sweep_id: str, below: str) -> httpx.Response:
        return self._transport.request("GET", f"{_path(sweep_id)}{below}")


def _path(sweep_id: str) -> str:
    return f"/v1/sweeps/{quote(sweep_id, safe='')}"


def _plain(spec: SweepSpec | Mapping[str, Any]) -> Any:
    if isinstance(spec, SweepSpec):
        # Only what was set: the server's record shows defaults as defaults.
        return json.loads(spec.model_dump_json(exclude_unset=True))
    return dict(spec)
