"""What can go wrong between a client and the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx


class ClientError(Exception):
    """The client could not do what it was asked."""


class UnreachableError(ClientError):
    """The server does not answer."""


class ChecksumError(ClientError):
    """The file that arrived is not the file that the server holds."""


class BuildError(ClientError):
    """A dataset was not built; `reason` is the job's."""

    def __init__(self, job_id: str, state: str, reason: Mapping[str, Any] | None) -> None:
        self.job_id = job_id
        self.state = state
        self.reason = dict(reason or {})
        super().__init__(f"{job_id} {state}: {self.reason.get('message', 'no reason was given')}")


class ApiError(ClientError):
    """The server's answer was an error; `problem` is its problem+json body."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = dict(problem)
        self.status = int(problem.get("status", 0))
        self.code = str(problem.get("code", "error"))
        self.detail = str(problem.get("detail", ""))
        self.request_id = str(problem.get("request_id", ""))
        self.errors: list[dict[str, str]] = list(problem.get("errors") or [])
        lines = [f"{self.detail or self.code} ({self.status} {self.code})"]
        lines += [f"  {e.get('pointer') or '/'}: {e.get('message')}" for e in self.errors]
        if self.request_id:
            lines.append(f"  request id: {self.request_id}")
        super().__init__("\n".join(lines))


def api_error(response: httpx.Response) -> ApiError:
    """The error of an answer whose body has been read."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or "status" not in body:
        # Not from this server: a proxy in between, or something else listening at the address.
        body = {
            "status": response.status_code,
            "code": "not-the-api",
            "detail": f"{response.url} answered {response.status_code} {response.reason_phrase}",
            "request_id": response.headers.get("x-request-id", ""),
        }
    return ApiError(body)
