"""Keeps servers alive: what dies without being asked is started again, ever more patiently."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.embedded.process import EmbeddedServerError

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A server that ran this long is trusted again: its next restart is immediate."""


class Server(Protocol):
    """What can be kept alive."""

    @property
    def pid(self) -> int | None: ...

    def start(self) -> object: ...

    def is_alive(self) -> bool: ...

    def stop(self) -> None: ...


@dataclass
class Kept:
    """A server and how often it had to be started again."""

    name: str
    server: Server
    restarts: int = 0
    _failures: int = field(default=0, init=False)
    _started: float = field(default=0.0, init=False)
    _not_before: float | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the server for the first time; a failure is the caller's."""
        self.server.start()
        self._started = time.monotonic()

    def check(self, say: Callable[[str], None]) -> bool:
        """Start the server again if it died and its pause is over; whether that was done."""
        now = time.monotonic()
        if self.server.is_alive():
            return False
        if self._not_before is None:
            if now - self._started > STEADY_S:
                self._failures = 0
            pause_s = min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
            # The first death of a steady server is most likely an accident: no reason to wait.
            self._not_before = now + (pause_s if self._failures else 0.0)
            self._failures += 1
            say(f"{self.name} ended unexpectedly; starting it again")
        if now < self._not_before:
            return False
        self._not_before = None
        self._started = now
        self.restarts += 1
        try:
            self.server.start()
        except (EmbeddedServerError, OSError) as error:
            say(f"{self.name} does not start: {error}")
            return False
        return True


class Keeper:
    """Servers in the order they were started; they are stopped in the reverse order."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._kept: list[Kept] = []

    @property
    def kept(self) -> Sequence[Kept]:
        """What is kept, in the order of starting."""
        return self._kept

    def start(self, name: str, server: Server) -> None:
        """Start a server and keep it from now on."""
        kept = Kept(name, server)
        # Known before it is started, so that a failed or interrupted start is cleaned up as well.
        self._kept.append(kept)
        kept.start()

    def check(self) -> bool:
        """Start again what died; whether anything was started."""
        # All of them are looked at, also after one was started again.
        started = [kept.check(self._say) for kept in self._kept]
        return any(started)

    def stop(self) -> None:
        """Stop everything, last started first; one that resists does not spare the others."""
        while self._kept:
            self._kept.pop().server.stop()
