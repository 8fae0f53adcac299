"""Sends what webhooks are to be told: one thread of the API process, with a few hands."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from sqlalchemy.exc import SQLAlchemyError

from app.api.egress import EgressError, post
from app.db.database import Database
from app.jobs import webhooks
from app.jobs.webhooks import Due
from app.settings import Network

POLL_S = 1.0
HANDS = 16
"""Receivers that may be slow at the same time without holding up the others: each has one hand."""
log = logging.getLogger("gogooku3.webhooks")


class Deliverer(threading.Thread):
    """Several processes may run one each: a delivery goes to one of them."""

    def __init__(self, database: Database, allowed: Sequence[Network]) -> None:
        super().__init__(name="webhooks", daemon=True)
        self._database = database
        self._allowed = allowed
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        busy: dict[Future[None], str] = {}
        with ThreadPoolExecutor(HANDS, thread_name_prefix="webhook") as hands:
            while not self._ended.is_set():
                # As many as there are free hands: none waits here while its minute runs out.
                for due in self._take(HANDS - len(busy), busy.values()):
                    busy[hands.submit(self._deliver, due)] = due.webhook_id
                if busy:
                    wait(busy, timeout=POLL_S, return_when=FIRST_COMPLETED)
                else:
                    self._ended.wait(POLL_S)
                busy = {under_way: to for under_way, to in busy.items() if not under_way.done()}

    def end(self) -> None:
        """Stop after the deliveries under way, and wait for that."""
        self._ended.set()
        self.join()

    def _take(self, limit: int, busy: Collection[str]) -> list[Due]:
        try:
            with self._database.session() as session:
                return webhooks.take_due(session, limit, busy=busy)
        except SQLAlchemyError as error:
            log.warning("webhooks wait for the database: %s", type(error).__name__)
            return []

    def _deliver(self, due: Due) -> None:
        told = {"delivery_id": due.id, "webhook_id": due.webhook_id}
        try:
            content = content_of(due)
            at = int(time.time())
            headers = signed_headers(due.id, at, content, due.secret)
            status = post(due.url, content, headers, self._allowed)
        except EgressError as error:
            log.warning("a webhook was not delivered: %s", error, extra=told)
            self._settle(due, str(error), error.status)
        except Exception as error:
            log.exception("a webhook could not be sent", extra=told)
            self._settle(due, type(error).__name__, None)
        else:
            self._settle(due, None, status)

    def _settle(self, due: Due, error: str | None, status: int | None) -> None:
        try:
            with self._database.session() as session:
                if error is None and status is not None:
                    webhooks.delivered(session, due, status)
                else:
                    webhooks.refused(session, due, (error or "")[:500], status)
        except SQLAlchemyError:
            # It is due again when its minute is over.
            log.warning("%s: what became of it is not recorded", due.id)


def content_of(due: Due) -> bytes:
    """The body, byte for byte the same at every attempt."""
    return json.dumps({"id": due.id, **due.body}, sort_keys=True, separators=(",", ":")).encode()


def signed_headers(delivery: str, at: int, content: bytes, secret: str) -> dict[str, str]:
    """Headers after the Standard Webhooks specification: the signature covers id, time and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{delivery}.{at}.".encode() + content, hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "User-Agent": "gogooku3-webhook",
        "webhook-id": delivery,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(mac.digest()).decode(),
    }
