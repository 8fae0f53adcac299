"""Rings are sent beside the caller, none of a quiet time is left out, a storm is thinned."""

from __future__ import annotations

import threading
import time

from app.broker.ringer import AT_ONCE, Ringer


class Bell:
    """Counts."""

    def __init__(self) -> None:
        self.rung = 0
        self.free = threading.Event()
        self.free.set()
        self.is_closed = False

    def ring(self) -> bool:
        self.free.wait(30)
        self.rung += 1
        return True

    def close(self) -> None:
        self.is_closed = True


def wait_for(bell: Bell, count: int) -> None:
    deadline = time.monotonic() + 30
    while bell.rung < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_each_ring_of_a_quiet_time_is_sent() -> None:
    bell = Bell()
    ringer = Ringer(bell)  # type: ignore[arg-type]
    for count in (1, 2, 3):
        ringer.ring()
        wait_for(bell, count)
    ringer.close()
    assert (bell.rung, bell.is_closed) == (3, True)


def test_a_slow_broker_holds_nobody_up_and_a_storm_is_thinned() -> None:
    bell = Bell()
    bell.free.clear()
    ringer = Ringer(bell)  # type: ignore[arg-type]
    began = time.monotonic()
    for _ in range(500):
        ringer.ring()
    assert time.monotonic() - began < 5
    bell.free.set()
    ringer.close()
    assert 1 <= bell.rung <= 3 * AT_ONCE
