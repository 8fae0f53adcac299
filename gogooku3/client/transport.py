"""Requests that survive a blink of the network or a restart of the server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import httpx

from gogooku3.client.errors import UnreachableError, api_error

BUSY = frozenset({502, 503, 504})
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0


class Backoff:
    """Growing pauses with jitter, until a time budget is used up."""

    def __init__(self, budget_s: float, sleep: Callable[[float], None]) -> None:
        self._budget_s = budget_s
        self._sleep = sleep
        self.succeeded()

    def succeeded(self) -> None:
        """Start afresh: what went wrong is over."""
        self._pause_s = FIRST_PAUSE_S
        self._deadline = time.monotonic() + self._budget_s

    def pause(self, at_least_s: float = 0.0) -> bool:
        """Sleep a while; false, at once, when the budget would be overdrawn."""
        pause_s = max(at_least_s, self._pause_s * random.uniform(0.5, 1.0))
        if time.monotonic() + pause_s > self._deadline:
            return False
        self._sleep(pause_s)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        return True


class Transport:
    """An HTTP connection that repeats what may be repeated.

    Every request of this client may be: reads change nothing, doing twice what is done to a job is
    doing it once, and creates carry the same Idempotency-Key each time.
    """

    def __init__(
        self, url: str, api_key: str | None, *, timeout_s: float, retry_for_s: float
    ) -> None:
        self.url = url.rstrip("/")
        self.retry_for_s = retry_for_s
        headers = {"User-Agent": "gogooku3-client"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "headers": headers,
            "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
            # A proxy named by the environment cannot reach this machine's own loopback.
            "trust_env": httpx.URL(self.url).host not in {"localhost", "127.0.0.1", "::1"},
        }

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(**self._options)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def sleep(self, seconds: float) -> None:
        """Wait; nothing else in the client does."""
        time.sleep(seconds)

    def backoff(self) -> Backoff:
        """Pauses between tries, for as long as this client tries."""
        return Backoff(self.retry_for_s, self.sleep)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer, read; redirects are not followed. Raises ApiError, UnreachableError."""
        backoff = self.backoff()
        given = {name: value for name, value in (params or {}).items() if value is not None}
        while True:
            try:
                response = self._send(method, path, params=given, json=json, headers=headers)
            except httpx.TransportError as error:
                if not backoff.pause():
                    raise self.unreachable(error) from error
                continue
            if response.status_code < 400:
                return response
            if not (is_passing(response) and backoff.pause(retry_after_s(response))):
                raise api_error(response)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, path, **options)

    @contextmanager
    def streamed(self, path: str, *, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """One answer whose body is read by the caller. Raises ApiError, httpx.TransportError."""
        with self._http.stream("GET", path, headers=headers) as response:
            if response.status_code >= 400:
                response.read()
                raise api_error(response)
            yield response

    def unreachable(self, error: Exception) -> UnreachableError:
        """The error for a server that stayed away too long."""
        return UnreachableError(
            f"no answer from {self.url}: {str(error) or type(error).__name__}; is the server up?"
        )


def is_passing(response: httpx.Response) -> bool:
    """Whether the same request may well succeed a little later."""
    if response.status_code in BUSY or response.status_code == 429:
        return True
    return response.status_code == 409 and "idempotency-in-flight" in response.text


def retry_after_s(response: httpx.Response) -> float:
    """Seconds that the server asks to wait."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else 0.0
