"""Requests are counted over all processes together; without Valkey, in each."""

from __future__ import annotations

from app.broker.limiter import WINDOW_S, Limiter


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def passed(limiter: Limiter, who: str, per_minute: int, tries: int) -> int:
    """How many of the requests pass."""
    return sum(limiter.refuse_for(who, per_minute) is None for _ in range(tries))


def test_limit_holds_over_two_processes(redis_url: str) -> None:
    clock = Clock()
    one, other = Limiter(redis_url, clock), Limiter(redis_url, clock)
    per_minute = 120 * 60 // WINDOW_S
    together = sum(
        (one if turn % 3 else other).refuse_for("key_1", per_minute) is None for turn in range(400)
    )
    assert 120 - 120 // 20 <= together <= 120
    assert passed(one, "key_2", per_minute, 50) == 50, "each key has its own"
    clock.now += WINDOW_S
    assert passed(one, "key_1", per_minute, 10) == 10, "a new window, a new count"
    one.close()
    other.close()


def test_refusal_says_when_to_come_back(redis_url: str) -> None:
    clock = Clock()
    clock.now += 3
    limiter = Limiter(redis_url, clock)
    assert passed(limiter, "slow", 6, 5) == 1
    wait_s = limiter.refuse_for("slow", 6)
    assert wait_s == WINDOW_S - 3
    clock.now += wait_s
    assert limiter.refuse_for("slow", 6) is None
    limiter.close()


def test_without_valkey_each_process_counts_for_itself() -> None:
    clock = Clock()
    limiter = Limiter("redis://127.0.0.1:1/0", clock)
    assert passed(limiter, "key", 600, 300) == 100
    clock.now += WINDOW_S
    assert passed(limiter, "key", 600, 300) == 100
    limiter.close()
