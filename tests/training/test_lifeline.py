"""A trainer lives exactly as long as its supervisor's lease."""

import os
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from gogooku3.lifeline import EXIT_CODE, Lifeline

LEASE_S = 1.0


class Watched:
    """A lifeline on a real pipe, with what it did and when."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        self.began = time.monotonic()
        self.lost = threading.Event()
        self.ended = threading.Event()
        self.code: int | None = None
        self.is_open = True
        Lifeline(self.read_fd, LEASE_S, self.lost.set, self._end).start()

    def _end(self, code: int) -> None:
        self.code = code
        self.ended.set()

    def beat(self, at: float | None = None) -> None:
        os.write(self.write_fd, struct.pack("<d", time.monotonic() if at is None else at))

    def hang_up(self) -> None:
        if self.is_open:
            os.close(self.write_fd)
            self.is_open = False


@pytest.fixture
def watched() -> Iterator[Watched]:
    lifeline = Watched()
    yield lifeline
    lifeline.hang_up()
    assert lifeline.ended.wait(5 * LEASE_S)  # the thread is over before its pipe is closed
    os.close(lifeline.read_fd)


def test_silence_stops_and_then_ends_the_trainer(watched: Watched) -> None:
    assert watched.lost.wait(5)
    assert time.monotonic() - watched.began > 0.75 * LEASE_S
    assert not watched.ended.is_set()
    assert watched.ended.wait(5)
    assert time.monotonic() - watched.began > 0.9 * LEASE_S
    assert watched.code == EXIT_CODE


def test_renewals_keep_it_alive(watched: Watched) -> None:
    for _ in range(12):
        time.sleep(0.2 * LEASE_S)
        watched.beat()
    assert not watched.lost.is_set()


def test_a_supervisor_that_is_gone_stops_it_at_once_and_ends_it_with_the_lease(
    watched: Watched,
) -> None:
    watched.hang_up()
    assert watched.lost.wait(0.5 * LEASE_S)
    assert not watched.ended.is_set()
    assert watched.ended.wait(5)
    assert watched.code == EXIT_CODE


def test_the_lease_runs_from_its_renewal_not_from_the_news_of_it(watched: Watched) -> None:
    # The supervisor was suspended between renewing and writing: the lease ran meanwhile.
    watched.beat(watched.began - 0.5 * LEASE_S)
    assert watched.ended.wait(5)
    assert time.monotonic() - watched.began < 0.8 * LEASE_S


def test_an_older_renewal_does_not_take_back_a_newer_one(watched: Watched) -> None:
    watched.beat()
    watched.beat(watched.began - 10 * LEASE_S)
    time.sleep(0.3 * LEASE_S)
    assert not watched.lost.is_set()


def test_a_renewal_from_the_future_counts_as_now(watched: Watched) -> None:
    watched.beat(time.monotonic() + 1000)
    assert watched.ended.wait(5)


def test_a_renewal_may_arrive_in_pieces(watched: Watched) -> None:
    time.sleep(0.6 * LEASE_S)
    beat = struct.pack("<d", time.monotonic())
    os.write(watched.write_fd, beat[:3])
    time.sleep(0.05 * LEASE_S)
    os.write(watched.write_fd, beat[3:])
    time.sleep(0.5 * LEASE_S)
    assert not watched.lost.is_set()
