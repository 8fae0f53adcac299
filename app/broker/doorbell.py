"""Tells the workers that a job waits. May fail: workers also look by themselves."""

from __future__ import annotations

import logging

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.broker.celery import CLAIM_TASK, make_celery

SEND_TIMEOUT_S = 0.5
logger = logging.getLogger(__name__)


class Doorbell:
    """Rings after a commit; made once per process, used from any thread."""

    def __init__(self, redis_url: str) -> None:
        self._celery = make_celery(redis_url, socket_timeout_s=SEND_TIMEOUT_S)

    def ring(self) -> bool:
        """Send one `train.claim`; False (and a log line) when the broker does not take it.

        Takes milliseconds, and about a second at worst. The workers' poll heals a lost ring.
        """
        try:
            self._celery.send_task(CLAIM_TASK, retry=False, ignore_result=True)
        except (OperationalError, RedisError, OSError) as error:
            logger.warning("the doorbell was not rung, workers will poll: %s", error)
            return False
        return True

    def close(self) -> None:
        """Close the connections."""
        self._celery.close()
