"""The embedded Valkey keeps what was queued through kill -9."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from app.embedded.valkey import EmbeddedValkey

Make = Callable[[Path], EmbeddedValkey]


@pytest.mark.parametrize("name", ["valkey", "x" * 110, 'a "quoted" name, 100%'])
def test_a_queue_survives_kill_9(folder: Path, make_valkey: Make, name: str) -> None:
    server = make_valkey(folder / name)
    url = server.start()
    assert url.startswith("unix://" if name == "valkey" else "redis://:")
    with redis.Redis.from_url(url) as client:
        client.rpush("queue", *range(100))
        # The last second of the log is at risk by design: wait until it is on the disk.
        assert client.waitaof(1, 0, 10_000) == [1, 0]
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert server.start() == url
    with redis.Redis.from_url(url) as client:
        assert client.llen("queue") == 100


def test_is_durable_and_private(folder: Path, make_valkey: Make) -> None:
    server = make_valkey(folder / "valkey")
    with redis.Redis.from_url(server.start()) as client:
        names = ("appendonly", "appendfsync", "save", "maxmemory-policy", "port")
        values = [client.config_get(name)[name] for name in names]
    assert values == ["yes", "everysec", "", "noeviction", "0"]
    assert (folder / "valkey" / "broker.sock").stat().st_mode & 0o077 == 0
    assert (folder / "valkey" / "valkey.conf").stat().st_mode & 0o077 == 0


def test_tcp_needs_the_password(folder: Path, make_valkey: Make) -> None:
    server = make_valkey(folder / ("x" * 110))
    url = server.start()
    with (
        redis.Redis.from_url("redis://" + url.partition("@")[2]) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_a_living_leftover_is_ended_first(folder: Path, make_valkey: Make) -> None:
    other = make_valkey(folder / "valkey")
    with redis.Redis.from_url(other.start()) as client:
        client.set("key", "value")
    server = make_valkey(folder / "valkey")
    with redis.Redis.from_url(server.start()) as client:
        assert client.get("key") == b"value"
    assert not other.is_alive()
