"""Wake-ups for live streams: "job J has events up to N". Hints only; readers read the table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

STREAM = "gogooku3:wakes"
KEPT = 10_000
"""Wake-ups kept for readers that are behind; older ones are dropped."""
TIMEOUT_S = 0.5
READ_BLOCK_S = 5.0
RECONNECT_S = 1.0
logger = logging.getLogger(__name__)


class Wake:
    """The sending side; made once per process, used from any thread."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(
            redis_url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),
        )

    def publish(self, job_id: str, seq: int) -> bool:
        """Say that the job has events up to `seq`, after their commit; False when nobody heard.

        Readers poll as well, so a broker that is down costs them seconds, not events.
        """
        try:
            self._client.xadd(STREAM, {"job": job_id, "seq": seq}, maxlen=KEPT, approximate=True)
        except (RedisError, OSError) as error:
            logger.warning("no wake-up was sent, readers will poll: %s", error)
            return False
        return True

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class WakeListener:
    """The receiving side: `async for job_id, seq in WakeListener(url)`, one per process.

    Begins with the wake-ups sent after the first read and goes on for ever, through restarts of
    the broker; what was sent while it was disconnected is read on return if the broker kept it.
    """

    def __init__(self, redis_url: str) -> None:
        self._client = redis.asyncio.Redis.from_url(
            redis_url,
            socket_timeout=READ_BLOCK_S + 5.0,
            socket_connect_timeout=TIMEOUT_S,
            decode_responses=True,
            retry=AsyncRetry(NoBackoff(), 0),
        )

    async def __aiter__(self) -> AsyncIterator[tuple[str, int]]:
        last: str | None = None
        is_connected = False
        try:
            while True:
                _heed_cancellation()
                try:
                    if last is None or not is_connected:
                        last = last or await self._newest()
                        is_connected = await self._client.ping()
                        continue
                    entries = await self._read(last)
                except (RedisError, OSError) as error:
                    logger.warning("no wake-ups for now: %s", error)
                    is_connected = False
                    await asyncio.sleep(RECONNECT_S)
                    continue
                for entry_id, job_id, seq in entries:
                    last = entry_id
                    yield job_id, seq
        finally:
            await self._client.aclose()

    async def _newest(self) -> str:
        entries = await self._client.xrevrange(STREAM, count=1)
        return str(entries[0][0]) if entries else "0-0"

    async def _read(self, last: str) -> list[tuple[str, str, int]]:
        answer = cast(
            "list[tuple[str, list[tuple[str, dict[str, str]]]]]",
            await self._client.xread({STREAM: last}, block=int(READ_BLOCK_S * 1000)),
        )
        return [
            (entry_id, fields["job"], int(fields["seq"]))
            for _, entries in answer
            for entry_id, fields in entries
        ]


def _heed_cancellation() -> None:
    """End a cancelled task. Connecting goes through `asyncio.wait_for`, which in Python 3.11
    forgets a cancellation that comes while it succeeds: the task would wait on for ever."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
