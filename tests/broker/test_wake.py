"""Wake-ups reach a listener, through a restart of the broker; a dead broker blocks nobody."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import redis

from app.broker.wake import KEPT, STREAM, Wake, WakeListener
from app.embedded.valkey import EmbeddedValkey


async def until(condition: Callable[[], bool], act: Callable[[], Awaitable[None]]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await act()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[list[tuple[str, int]]]:
    heard: list[tuple[str, int]] = []

    async def listen() -> None:
        async for wakeup in WakeListener(url):
            heard.append(wakeup)

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_listener_hears_what_is_sent_after_it_began(redis_url: str) -> None:
    async def scenario() -> list[tuple[str, int]]:
        wake = Wake(redis_url)
        wake.publish("job_old", 1)
        async with listening(redis_url) as heard:

            async def send() -> None:
                wake.publish("job_new", 2)

            await until(lambda: ("job_new", 2) in heard, send)
        wake.close()
        return heard

    assert ("job_old", 1) not in asyncio.run(scenario())


def test_a_listener_outlives_a_restart_of_the_broker() -> None:
    folder = Path(tempfile.mkdtemp(prefix="gk3b-"))
    server = EmbeddedValkey(folder)
    url = server.start()

    async def scenario() -> None:
        wake = Wake(url)
        async with listening(url) as heard:

            async def send_before() -> None:
                wake.publish("before", 1)

            await until(lambda: ("before", 1) in heard, send_before)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            began = time.monotonic()
            assert not wake.publish("during", 2)
            assert time.monotonic() - began < 4.0
            while server.is_alive():
                await asyncio.sleep(0.01)
            server.start()

            async def send_after() -> None:
                wake.publish("after", 3)

            await until(lambda: ("after", 3) in heard, send_after)
        wake.close()

    try:
        asyncio.run(scenario())
    finally:
        server.stop()
        shutil.rmtree(folder)


def test_a_listener_ends_whenever_it_is_cancelled(redis_url: str) -> None:
    async def scenario() -> None:
        for n in range(60):
            async with listening(redis_url):
                await asyncio.sleep(0.0005 * n)

    began = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - began < 25.0


def test_the_stream_stays_bounded(redis_url: str) -> None:
    wake = Wake(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        pipeline = client.pipeline(transaction=False)
        for seq in range(KEPT + 2000):
            pipeline.xadd(STREAM, {"job": "job_x", "seq": seq})
        pipeline.execute()
        assert wake.publish("job_x", 0)
        assert client.xlen(STREAM) <= KEPT + 200
    wake.close()
