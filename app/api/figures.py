"""Figures for Prometheus.

What concerns jobs and workers is counted in the database when it is asked for, so every API process
tells the same; requests are counted in each process, to be added up by Prometheus.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Scope

from app.api.release import VERSION
from app.db.database import Database
from app.jobs.statistics import QUANTILES, Spread, Statistics, statistics

KEPT_S = 5.0
"""Several scrapers in a row cost one count."""
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Figures:
    """The figures of one API process; made once, used from any thread."""

    def __init__(self, database: Database, artifacts: Path) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "gogooku3_http_request_seconds",
            "Requests that this process answered",
            ("method", "route", "status"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self.registry.register(_Counted(database, artifacts))

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request. Streams are left out: how long they last says nothing."""
        # What no route takes has one name: a stranger must not be able to make new ones.
        route = getattr(scope.get("route"), "path", "none")
        if not route.endswith("/stream"):
            self._requests.labels(scope["method"], route, str(status)).observe(seconds)


class _Counted(Collector):
    """What the database knows."""

    def __init__(self, database: Database, artifacts: Path) -> None:
        self._database = database
        self._artifacts = artifacts
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._newest: Statistics | None = None

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every figure. While the database is away only that is told."""
        yield _info()
        found = self._statistics()
        yield GaugeMetricFamily(
            "gogooku3_database_up", "Whether the database answers", value=float(found is not None)
        )
        yield from _disk(self._artifacts)
        if found is not None:
            yield from _jobs(found)
            yield from _attempts(found)
            yield from _workers(found)

    def _statistics(self) -> Statistics | None:
        with self._lock:
            if time.monotonic() - self._at < KEPT_S:
                return self._newest
            try:
                with self._database.session() as session:
                    self._newest = statistics(session)
            except SQLAlchemyError:
                self._newest = None
            self._at = time.monotonic()
            return self._newest


def _info() -> Metric:
    family = GaugeMetricFamily("gogooku3_build", "Always 1", labels=("version",))
    family.add_metric([VERSION], 1.0)
    return family


def _disk(folder: Path) -> Iterator[Metric]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return
    yield GaugeMetricFamily("gogooku3_disk_free_bytes", "On the artifacts' disk", value=usage.free)
    yield GaugeMetricFamily("gogooku3_disk_bytes", "Of the artifacts' disk", value=usage.total)


def _jobs(found: Statistics) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("gogooku3_jobs", "Jobs there are", labels=("kind", "state"))
    for key, count in sorted(found.jobs.items()):
        jobs.add_metric(key, count)
    yield jobs
    queued = sum(count for (_, state), count in found.jobs.items() if state == "queued")
    yield GaugeMetricFamily("gogooku3_queue_depth", "Jobs that wait", value=queued)
    yield GaugeMetricFamily(
        "gogooku3_queue_oldest_wait_seconds", "Of the longest waiting", value=found.oldest_wait_s
    )
    yield from _spread(
        "gogooku3_job_wait_seconds", "From submission to the first start", found.wait
    )
    yield from _spread("gogooku3_attempt_run_seconds", "Length of ended attempts", found.run)
    epochs = GaugeMetricFamily(
        "gogooku3_epoch_seconds", "Newest epochs of running jobs", labels=("over",)
    )
    for over, seconds in found.epoch_s.items():
        epochs.add_metric([over], seconds)
    yield epochs


def _attempts(found: Statistics) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "gogooku3_attempts_ended", "By outcome and class of failure", labels=("outcome", "class")
    )
    for key, count in sorted(found.attempts.items()):
        ended.add_metric(key, count)
    yield ended
    lost = sum(count for (outcome, _), count in found.attempts.items() if outcome == "lost")
    yield CounterMetricFamily("gogooku3_leases_lost", "Attempts that lost their lease", value=lost)
    yield CounterMetricFamily(
        "gogooku3_stale_writes_rejected", "Of attempts without a lease", value=found.stale_writes
    )


def _workers(found: Statistics) -> Iterator[Metric]:
    yield GaugeMetricFamily("gogooku3_workers", "Workers that are alive", value=found.workers)
    slots = GaugeMetricFamily("gogooku3_slots", "Of living workers", labels=("device", "state"))
    for key, count in sorted(found.slots.items()):
        slots.add_metric(key, count)
    yield slots
    if found.gpu_utilisation is not None:
        yield GaugeMetricFamily(
            "gogooku3_gpu_utilisation", "Mean over running jobs", value=found.gpu_utilisation
        )
    deliveries = GaugeMetricFamily(
        "gogooku3_webhook_deliveries", "Deliveries that are kept", labels=("state",)
    )
    for state, count in sorted(found.deliveries.items()):
        deliveries.add_metric([state], count)
    yield deliveries
    yield GaugeMetricFamily(
        "gogooku3_database_bytes", "Size of the database", value=found.database_bytes
    )


def _spread(name: str, text: str, found: Spread) -> Iterator[Metric]:
    yield SummaryMetricFamily(name, text, count_value=found.count, sum_value=found.sum_s)
    recent = GaugeMetricFamily(f"{name}_recent", f"{text}, last hour", labels=("quantile",))
    for quantile, seconds in zip(QUANTILES, found.quantiles, strict=True):
        if seconds is not None:
            recent.add_metric([str(quantile)], seconds)
    yield recent
