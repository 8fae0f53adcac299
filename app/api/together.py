"""Asks once for what many ask at the same time."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import anyio.to_thread

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class Together(Generic[Key, Found]):
    """Looks for many keys in one go, in a thread, one look after the other.

    What is asked while a look is under way waits for the next one: an answer is never older than
    its question, and a thousand who ask cost as little as a few. Used in the event loop only.
    """

    def __init__(self, look: Callable[[Sequence[Key]], Mapping[Key, Found]]) -> None:
        """`look` leaves out what is not there."""
        self._look = look
        self._asked: dict[Key, list[asyncio.Future[Found | None]]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def ask(self, key: Key) -> Found | None:
        """What is found for the key; None = it is not there. Raises what `look` raises."""
        answer: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(key, []).append(answer)
        if self._looking is None:
            # In nobody's context: it works for all who ask.
            self._looking = asyncio.create_task(self._run(), context=contextvars.Context())
        return await answer

    async def _run(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                try:
                    found = await anyio.to_thread.run_sync(self._look, list(asked))
                except Exception as error:
                    for waiting in _open(asked.values()):
                        waiting.set_exception(error)
                    continue
                for key, own in asked.items():
                    for waiting in _open([own]):
                        waiting.set_result(found.get(key))
        finally:
            self._looking = None


def _open(
    groups: Iterable[Sequence[asyncio.Future[Found | None]]],
) -> Iterable[asyncio.Future[Found | None]]:
    """Those that nobody has given up."""
    return (waiting for group in groups for waiting in group if not waiting.done())
