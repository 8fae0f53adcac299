"""Who is asking and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from math import ceil
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.requests import Request

from app.api.server import Server, server_of
from app.db.trail import current
from app.domain import ForbiddenError, Scope, TooManyRequestsError, UnauthenticatedError

WRONG_KEYS_PER_MINUTE = 60
"""From one address."""
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(frozen=True)
class Caller:
    """The key behind a request; `key_id` is None where the server is open."""

    key_id: str | None
    scope: Scope

    @property
    def name(self) -> str:
        """Whose idempotency keys these are."""
        return self.key_id or "open"


class ApiKey(HTTPBearer):
    """The caller with the key of a request, who may do what `scope` names and has not asked too
    often; what it changes is told under its name.

    Raises UnauthenticatedError for a missing, unknown, expired or revoked key, ForbiddenError, and
    TooManyRequestsError. All in one dependency: each of its own costs every request some time.
    """

    def __init__(self, scope: Scope) -> None:
        super().__init__(
            auto_error=False,
            scheme_name="ApiKey",
            bearerFormat="gk_...",
            description="An API key: `Authorization: Bearer gk_...`. A server on loopback with its "
            "own embedded database answers without one, but a key that is presented is always "
            "checked.",
        )
        self._scope = scope

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        """The caller."""
        found = await _identified(request, server_of(request))
        _follow(request, found)
        if not found.scope.includes(self._scope):
            raise ForbiddenError(
                f"This needs an API key with scope {self._scope.value}; this one has "
                f"{found.scope.value}."
            )
        return found


async def _identified(request: Request, server: Server) -> Caller:
    header = request.headers.get("authorization")
    if header is None:
        if not server.open_access:
            raise UnauthenticatedError()
        _require_direct(request)
        return Caller(None, Scope.ADMIN)
    kind, _, presented = header.partition(" ")
    try:
        if kind.lower() != "bearer" or not presented.strip():
            raise UnauthenticatedError()
        # Only what is not known here goes to a thread, to ask the database or Valkey.
        key = server.keyring.known(presented.strip())
        if key is None:
            key = await run_in_threadpool(server.keyring.authenticate, presented.strip())
    except UnauthenticatedError:
        # Guessing is slow, whichever key is guessed at.
        await _count(server, f"address:{address_of(request)}", WRONG_KEYS_PER_MINUTE)
        raise
    per_minute = key.requests_per_minute
    if per_minute is None:
        per_minute = server.settings.requests_per_minute
    if per_minute:
        await _count(server, key.id, per_minute)
    return Caller(key.id, key.scope)


async def _count(server: Server, who: str, per_minute: int) -> None:
    if server.limiter.may_pass(who):
        return
    wait_s = await run_in_threadpool(server.limiter.refuse_for, who, per_minute)
    if wait_s is not None:
        raise TooManyRequestsError(
            f"more than {per_minute} requests a minute; wait as long as `Retry-After` says",
            retry_after_s=max(1, ceil(wait_s)),
        )


def _follow(request: Request, found: Caller) -> None:
    """Tell the request's trail who it is and what it is about."""
    trail = current()
    route = request.scope.get("route")
    if trail is None or not isinstance(route, APIRoute):
        return
    trail.action = f"{request.method} {route.path}"
    trail.targets = [str(value) for value in request.path_params.values()]
    trail.actor = found.name


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else "unknown"


def _require_direct(request: Request) -> None:
    """An open server answers programs on its own machine, and nobody through them.

    A page of some other site in this machine's browser is told apart by its `Origin` and, after
    DNS rebinding, by `Host`; a proxy that carries strangers by its forwarding headers.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if (
        not _is_loopback(host)
        or (origin is not None and origin.partition("://")[2] != host)
        or any(name in request.headers for name in _FORWARDED)
    ):
        raise UnauthenticatedError(
            "Without an API key only direct requests to a loopback address are answered; "
            "send `Authorization: Bearer gk_...`."
        )


def _is_loopback(host: str) -> bool:
    """Whether a `Host` header names this machine, by whatever port."""
    try:
        name = urlsplit(f"//{host}").hostname
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False


reader = ApiKey(Scope.READ)
submitter = ApiKey(Scope.SUBMIT)
administrator = ApiKey(Scope.ADMIN)

Reader = Annotated[Caller, Depends(reader)]
Submitter = Annotated[Caller, Depends(submitter)]
Administrator = Annotated[Caller, Depends(administrator)]
