"""How often somebody may ask, counted over all API processes together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

WINDOW_S = 10
SHARES = 20
"""A process takes a window's requests in this many portions, not one by one."""
MOST_KNOWN = 10_000
TIMEOUT_S = 0.2
logger = logging.getLogger(__name__)


@dataclass
class _Account:
    """Somebody's requests in one window, as this process knows them."""

    window: int
    left: int = 0
    """Requests that this process may still let pass without asking."""
    is_spent: bool = False
    """Whether all processes together have let pass what there was."""


class Limiter:
    """Counts requests in windows of ten seconds; made once per process, used from any thread.

    The count is kept in Valkey and taken from there in portions, so most requests cost nothing.
    While Valkey is away each process counts for itself: the limit then holds per process.
    """

    def __init__(self, redis_url: str, clock: Callable[[], float] = time.time) -> None:
        self._client = redis.Redis.from_url(
            redis_url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[str, _Account] = {}
        self._away_until = 0.0

    def may_pass(self, who: str) -> bool:
        """Whether the request may pass without asking Valkey; if so it is counted. Never waits."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            account = self._accounts.get(who)
            window = int(self._clock() // WINDOW_S)
            if account is None or account.window != window or account.left == 0:
                return False
            account.left -= 1
            return True
        finally:
            self._lock.release()

    def refuse_for(self, who: str, per_minute: int) -> float | None:
        """None = the request may pass, and is counted; else the seconds until the next may."""
        now = self._clock()
        window = int(now // WINDOW_S)
        with self._lock:
            account = self._accounts.get(who)
            if account is None or account.window != window:
                if len(self._accounts) >= MOST_KNOWN:
                    self._forget(window)
                account = self._accounts[who] = _Account(window)
            if account.left == 0 and not account.is_spent:
                self._take(who, account, max(1, per_minute * WINDOW_S // 60), now)
            if account.left > 0:
                account.left -= 1
                return None
        return (window + 1) * WINDOW_S - now

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _take(self, who: str, account: _Account, limit: int, now: float) -> None:
        """Another portion of the window's `limit` requests; none if they are spent."""
        portion = max(1, limit // SHARES)
        taken = self._count(f"gogooku3:rate:{who}:{account.window}", portion, now)
        if taken is None:
            # Nobody to ask: the whole of it, once, in this process.
            account.left, account.is_spent = limit, True
            return
        account.left = max(0, min(portion, limit - (taken - portion)))
        account.is_spent = taken >= limit

    def _count(self, key: str, portion: int, now: float) -> int | None:
        if now < self._away_until:
            return None
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.incrby(key, portion)
                pipeline.expire(key, 2 * WINDOW_S)
                return int(pipeline.execute()[0])
        except (RedisError, OSError) as error:
            logger.warning("requests are counted in this process alone for now: %s", error)
            self._away_until = now + WINDOW_S
            return None

    def _forget(self, window: int) -> None:
        """Drop the accounts of windows that are over; of this one too if there are as many."""
        kept = {who: own for who, own in self._accounts.items() if own.window == window}
        self._accounts = kept if len(kept) < MOST_KNOWN else {}
