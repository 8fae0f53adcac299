"""Plain code over asynchronous connections: what makes `AsyncClient` the same code as `Client`.

The client's code runs in a greenlet. Where it would wait for the network it hands an awaitable to
the coroutine that started it, and goes on with the outcome: no thread, no second copy of the logic.
SQLAlchemy's asyncio extension works the same way.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import anyio
import httpx
from greenlet import getcurrent, greenlet

from gogooku3.client.errors import api_error
from gogooku3.client.transport import Transport

P = ParamSpec("P")
R = TypeVar("R")
_END: Any = object()


def wait_for(awaitable: Awaitable[R]) -> R:
    """The outcome of an awaitable, inside `spawn`."""
    coroutine = getcurrent().parent
    assert coroutine is not None, "only inside `spawn`"
    outcome: R = coroutine.switch(awaitable)
    return outcome


async def spawn(function: Callable[..., R], *arguments: Any, **named: Any) -> R:
    """What `function` returns; it may call `wait_for`, and is interrupted as a coroutine is."""
    running = greenlet(function, parent=getcurrent())
    outcome = running.switch(*arguments, **named)
    while not running.dead:
        try:
            value = await outcome
        except BaseException:
            outcome = running.throw(*sys.exc_info())
        else:
            outcome = running.switch(value)
    return cast(R, outcome)


def awaited(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Awaitable[R]]:
    """The asynchronous twin of a method of the plain client: `await client.jobs.get(...)`."""

    @wraps(method)
    async def twin(self: Any, /, *arguments: P.args, **named: P.kwargs) -> R:
        return await spawn(method, self.plain, *arguments, **named)

    return twin


def iterated(
    method: Callable[Concatenate[Any, P], Iterator[R]],
) -> Callable[Concatenate[Any, P], AsyncIterator[R]]:
    """The asynchronous twin of a method that yields: `async for job in client.jobs.list(...)`."""

    @wraps(method)
    async def twin(self: Any, /, *arguments: P.args, **named: P.kwargs) -> AsyncIterator[R]:
        items: Any = method(self.plain, *arguments, **named)
        try:
            while (item := await spawn(next, items, _END)) is not _END:
                yield item
        finally:
            await spawn(items.close)

    return twin


class AwaitingTransport(Transport):
    """The transport over httpx's asynchronous client."""

    @cached_property
    def _connections(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(**self._options)

    def close(self) -> None:
        """Close the connections."""
        wait_for(self._connections.aclose())

    def sleep(self, seconds: float) -> None:
        """Let other tasks run meanwhile."""
        wait_for(anyio.sleep(seconds))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return wait_for(self._connections.request(method, path, **options))

    @contextmanager
    def streamed(self, path: str, *, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """One answer whose body is read by the caller. Raises ApiError, httpx.TransportError."""
        request = self._connections.build_request("GET", path, headers=headers)
        response = wait_for(self._connections.send(request, stream=True))
        try:
            if response.status_code >= 400:
                wait_for(response.aread())
                raise api_error(response)
            yield cast(httpx.Response, _AwaitedBody(response))
        finally:
            wait_for(response.aclose())


class _AwaitedBody:
    """An answer whose body is read as if it were a plain one."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status_code = response.status_code

    def iter_lines(self) -> Iterator[str]:
        return _each(self._response.aiter_lines())

    def iter_raw(self) -> Iterator[bytes]:
        return _each(self._response.aiter_raw())


def _each(items: AsyncIterator[R]) -> Iterator[R]:
    while (item := wait_for(_next(items))) is not _END:
        yield item


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, _END)
