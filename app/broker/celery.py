"""The Celery application: doorbells only. What is to be done stands in the database."""

from __future__ import annotations

from urllib.parse import urlsplit

from celery import Celery

CLAIM_TASK = "train.claim"
"""Rings for any worker: look whether a job is queued. Carries nothing."""
CLAIM_QUEUE = "train"
VISIBILITY_TIMEOUT_S = 3600
"""Set under all three of Celery's keys: the shortest of them would win otherwise."""


def make_celery(redis_url: str, *, socket_timeout_s: float | None = None) -> Celery:
    """A Celery application on this broker (redis:// or unix://), JSON only, without results.

    A doorbell is acknowledged when it is received and may be lost or doubled without harm, so
    nothing here redelivers, retries or stores. `socket_timeout_s` bounds a sender's wait on a
    broker that hangs; a consumer blocks on its socket by design and must not set it.
    """
    app = Celery("gogooku3", broker=broker_url(redis_url), set_as_current=False)
    transport: dict[str, object] = {"visibility_timeout": VISIBILITY_TIMEOUT_S}
    if socket_timeout_s is not None:
        transport |= {
            "socket_timeout": socket_timeout_s,
            "socket_connect_timeout": socket_timeout_s,
            # Connecting anew is tried twice at once, not for kombu's usual seconds.
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
            "connect_retries_timeout": socket_timeout_s,
        }
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        task_default_queue=CLAIM_QUEUE,
        task_track_started=False,
        worker_send_task_events=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=transport,
        result_backend_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT_S},
        visibility_timeout=VISIBILITY_TIMEOUT_S,
        timezone="UTC",
    )
    return app


def broker_url(redis_url: str) -> str:
    """The address in Celery's spelling: unix://PATH?db=N is redis+socket://PATH?virtual_host=N."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    query = parts.query.replace("db=", "virtual_host=")
    return f"redis+socket://{parts.netloc}{parts.path}?{query}"
