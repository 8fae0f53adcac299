"""Asks once for what many ask at the same time."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import anyio.to_thread

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class Together(Generic[Key, Found]):
    """Looks for many keys in one go, in a thread, one look after the other or a few side by side.

    What is asked while a look is under way waits for the next one: an answer is never older than
    its question, and a thousand who ask cost as little as a few. Used in the event loop only.
    """

    def __init__(
        self,
        look: Callable[[Sequence[Key]], Mapping[Key, Found]],
        *,
        at_once: int | None = None,
        side_by_side: int = 1,
    ) -> None:
        """`look` leaves out what is not there; it is asked for at most `at_once` keys, and never
        in more than `side_by_side` threads."""
        self._look = look
        self._at_once = at_once
        self._side_by_side = side_by_side
        self._asked: dict[Key, list[asyncio.Future[Found | None]]] = {}
        self._looking = set[asyncio.Task[None] | None]()

    async def ask(self, key: Key) -> Found | None:
        """What is found for the key; None = it is not there. Raises what `look` raises."""
        answer: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(key, []).append(answer)
        if len(self._looking) < self._side_by_side:
            # In nobody's context: it works for all who ask.
            run = asyncio.create_task(self._run(), context=contextvars.Context())
            self._looking.add(run)
        return await answer

    async def _run(self) -> None:
        try:
            while self._asked:
                keys = list(islice(self._asked, self._at_once))
                asked = {key: self._asked.pop(key) for key in keys}
                try:
                    found = await anyio.to_thread.run_sync(self._look, keys)
                except Exception as error:
                    for waiting in _open(asked.values()):
                        waiting.set_exception(error)
                    continue
                for key, own in asked.items():
                    for waiting in _open([own]):
                        waiting.set_result(found.get(key))
        finally:
            # At once: whoever asks next has to start another.
            self._looking.discard(asyncio.current_task())


class Alike(Generic[Key, Found]):
    """Works out once what many ask for in the same words.

    Each key has looks of its own: one that takes long holds up nobody but those who ask for the
    same. Otherwise as `Together`.
    """

    def __init__(self, work: Callable[[Key], Found]) -> None:
        self._work = work
        # Each is kept by those who wait for it.
        self._askers = WeakValueDictionary[Key, Together[Key, Found]]()

    async def ask(self, key: Key) -> Found | None:
        """What `work` answers. Raises what it raises."""
        asker = self._askers.get(key)
        if asker is None:
            asker = self._askers[key] = Together(self._each)
        return await asker.ask(key)

    def _each(self, keys: Sequence[Key]) -> Mapping[Key, Found]:
        return {key: self._work(key) for key in keys}


def _open(
    groups: Iterable[Sequence[asyncio.Future[Found | None]]],
) -> Iterable[asyncio.Future[Found | None]]:
    """Those that nobody has given up."""
    return (waiting for group in groups for waiting in group if not waiting.done())
