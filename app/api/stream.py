"""Server-sent events: a job's record, line by line, as it grows.

Everything is sent from the table. Wake-ups only say when to look, so a lost one costs at most the
polling interval, and a client that reconnects with `Last-Event-ID` misses and repeats nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.api.record import BATCH, Batch
from app.api.server import Server

POLL_S = 2.0
PING_S = 15.0
RETRY_MS = 2000
"""How long a browser waits before it reconnects."""
PING = b": ping\n\n"

log = logging.getLogger("gogooku3.api")


async def frames(server: Server, job_id: str, after: int) -> AsyncIterator[bytes]:
    """The events after `after`, then those to come, then `event: end` when the job is finished."""
    with server.wakes.watch(job_id) as wake:
        yield f"retry: {RETRY_MS}\n\n".encode()
        spoken_at = time.monotonic()
        while not server.wakes.is_closing:
            # Cleared before reading: what is recorded after the read sets it again.
            wake.clear()
            batch = await _read(server, job_id, after)
            if batch is not None:
                for frame in batch.frames:
                    yield frame
                if batch.frames:
                    spoken_at = time.monotonic()
                    after = batch.after
                if batch.is_last:
                    yield f'event: end\ndata: {{"state": "{batch.state.value}"}}\n\n'.encode()
                    return
                if len(batch.frames) == BATCH:
                    continue
            if time.monotonic() - spoken_at >= PING_S:
                yield PING
                spoken_at = time.monotonic()
            await _sleep(wake)


async def _read(server: Server, job_id: str, after: int) -> Batch | None:
    try:
        return await server.streamed.ask((job_id, after))
    except (DBAPIError, PoolTimeoutError) as error:
        # The database is restarting: the client need not know, the stream goes on afterwards.
        log.warning("stream waits for the database: %s", error, extra={"job_id": job_id})
        return None


async def _sleep(wake: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(wake.wait(), POLL_S)
    except TimeoutError:
        return
