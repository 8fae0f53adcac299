"""One reader of wake-ups per process, shared by every stream that it serves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from app.broker.wake import WakeListener


class Wakes:
    """Sets the events of those who watch a job when its record grows.

    A wake-up may be late, doubled or lost: watchers look by themselves now and then.
    """

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.is_closing = False
        """Whether the process is stopping: streams end, and their clients reconnect later."""

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job's record grows. The watcher clears it."""
        event = asyncio.Event()
        self._watchers[job_id].add(event)
        try:
            yield event
        finally:
            self._watchers[job_id].discard(event)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    @property
    def watchers(self) -> int:
        """Streams being served."""
        return sum(len(events) for events in self._watchers.values())

    async def run(self) -> None:
        """Listen until cancelled; the listener itself outlives restarts of the broker."""
        async for job_id, _seq in WakeListener(self._redis_url):
            for event in self._watchers.get(job_id, ()):
                event.set()

    def close(self) -> None:
        """End every stream."""
        self.is_closing = True
        for events in self._watchers.values():
            for event in events:
                event.set()
