"""A small HTTP/1.1 client that asks as fast as a server answers, the same for every server."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any


@dataclass(frozen=True)
class Request:
    """What is asked; `body` goes as JSON."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self, port: int, *, close: bool = False) -> bytes:
        """The request's bytes."""
        content = b"" if self.body is None else json.dumps(self.body).encode()
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if content:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        if close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Load:
    """How fast a server answered."""

    per_s: float
    latencies: list[float]
    """Seconds, sorted."""
    statuses: Counter[int]

    def percentiles(self) -> str:
        """In words."""
        count = len(self.latencies)
        p50, p99 = (self.latencies[int(count * share)] * 1000 for share in (0.5, 0.99))
        return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, answers {dict(self.statuses)}"


def one(port: int, request: Request) -> Answer:
    """Ask once, on a connection of its own; an event loop for that would take longer than most
    answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    with closing(connection):
        content = None if request.body is None else json.dumps(request.body).encode()
        headers = request.headers | ({"Content-Type": "application/json"} if content else {})
        connection.request(request.method, request.path, content, headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())


def load(
    port: int, request: Request | Callable[[], Request], *, connections: int, seconds: float
) -> Load:
    """Ask on each of some connections again and again for a while, after a short warm-up."""
    fixed = request.encoded(port) if isinstance(request, Request) else None

    async def ask_on(latencies: list[float], statuses: Counter[int], since: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
        while (began := time.perf_counter()) < since + seconds:
            if fixed is not None:
                writer.write(fixed)
            else:
                assert not isinstance(request, Request)
                writer.write(request().encoded(port))
            answer = await read(reader)
            if began >= since:
                latencies.append(time.perf_counter() - began)
                statuses[answer.status] += 1
        writer.close()

    async def ask() -> Load:
        latencies: list[float] = []
        statuses: Counter[int] = Counter()
        since = time.perf_counter() + min(0.5, seconds / 4)
        await asyncio.gather(*(ask_on(latencies, statuses, since) for _ in range(connections)))
        took = time.perf_counter() - since
        return Load(len(latencies) / took, sorted(latencies), statuses)

    return asyncio.run(ask())


async def read(reader: asyncio.StreamReader) -> Answer:
    """One answer, by its length or in chunks."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    elif status in {204, 304}:
        body = b""
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(status, headers, body)
