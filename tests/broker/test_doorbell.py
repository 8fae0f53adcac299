"""A doorbell arrives in Celery's queue, and a broken broker costs its sender little time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.broker.celery import CLAIM_QUEUE, CLAIM_TASK, broker_url, make_celery
from app.broker.doorbell import Doorbell
from app.embedded.valkey import EmbeddedValkey


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A broker this test may kill."""
    folder = Path(tempfile.mkdtemp(prefix="gk3b-"))
    server = EmbeddedValkey(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


def test_a_ring_is_one_json_message(redis_url: str) -> None:
    bell = Doorbell(redis_url)
    assert bell.ring()
    bell.close()
    with redis.Redis.from_url(redis_url) as client:
        messages = client.lrange(CLAIM_QUEUE, 0, -1)
    assert len(messages) == 1
    message = json.loads(messages[0])
    assert message["headers"]["task"] == CLAIM_TASK
    assert message["content-type"] == "application/json"


def test_a_dead_broker_is_reported_fast_and_recovered_from(own_valkey: EmbeddedValkey) -> None:
    bell = Doorbell(own_valkey.url())
    assert bell.ring()
    with redis.Redis.from_url(own_valkey.url()) as client:
        # The last second of the broker's log is at risk by design: wait until it is on the disk.
        assert client.waitaof(1, 0, 10_000) == [1, 0]
    assert own_valkey.pid is not None
    os.kill(own_valkey.pid, signal.SIGKILL)
    began = time.monotonic()
    assert not bell.ring()
    assert not bell.ring()
    assert time.monotonic() - began < 4.0
    while own_valkey.is_alive():
        time.sleep(0.01)
    own_valkey.start()
    assert bell.ring()
    bell.close()
    with redis.Redis.from_url(own_valkey.url()) as client:
        assert client.llen(CLAIM_QUEUE) == 2


def test_a_hanging_broker_is_given_up_on(own_valkey: EmbeddedValkey) -> None:
    bell = Doorbell(own_valkey.url())
    assert bell.ring()
    assert own_valkey.pid is not None
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            began = time.monotonic()
            assert not bell.ring()
            assert time.monotonic() - began < 4.0
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    bell.close()


def test_celery_is_set_up_for_doorbells_only() -> None:
    conf = make_celery("redis://127.0.0.1:1/0").conf
    assert conf.task_acks_late is False
    assert conf.worker_disable_prefetch is True
    assert conf.worker_prefetch_multiplier == 1
    assert conf.accept_content == ["json"]
    assert conf.result_backend is None
    assert conf.broker_connection_retry_on_startup is True
    assert conf.broker_transport_options["visibility_timeout"] == conf.visibility_timeout
    assert conf.result_backend_transport_options["visibility_timeout"] == conf.visibility_timeout


def test_a_unix_address_is_spelled_for_celery() -> None:
    assert broker_url("unix:///a/b.sock?db=3") == "redis+socket:///a/b.sock?virtual_host=3"
    assert broker_url("redis://:p@127.0.0.1:9/2") == "redis://:p@127.0.0.1:9/2"
