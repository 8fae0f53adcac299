"""What there is to measure about jobs and workers, counted in the database: the same figures
whichever process is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.jobs.workers import ALIVE_S

RECENT_H = 1
"""Hours behind the quantiles of waiting and running."""
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Spread:
    """Seconds that something took: all together since the records begin, and recent quantiles."""

    count: int
    sum_s: float
    quantiles: tuple[float | None, ...]
    """At QUANTILES, of the last hour; None = nothing happened."""


@dataclass(frozen=True)
class Statistics:
    """Jobs, attempts, workers and deliveries at one moment."""

    jobs: dict[tuple[str, str], int]
    """By kind and state."""
    oldest_wait_s: float
    """Of the job that has waited longest and may run; 0 = none waits."""
    wait: Spread
    """From submission to the first start."""
    run: Spread
    """Of attempts that have ended."""
    attempts: dict[tuple[str, str], int]
    """Ended attempts, by outcome and class of the reason (empty without one)."""
    stale_writes: int
    epoch_s: dict[str, float]
    """Of the newest epochs of the jobs that run: mean and max; empty = none."""
    gpu_utilisation: float | None
    """Mean over the jobs that run and report it, 0 to 1."""
    workers: int
    """Alive."""
    slots: dict[tuple[str, str], int]
    """Of living workers, by device and by `busy` or `free`."""
    deliveries: dict[str, int]
    """Of webhooks, by state."""
    database_bytes: int


def statistics(session: Session) -> Statistics:
    """Count everything now, in one consistent view."""
    one = session.execute(_ONE, {"alive_s": ALIVE_S}).one()
    return Statistics(
        jobs={(kind, state): count for kind, state, count in session.execute(_JOBS)},
        oldest_wait_s=float(one.oldest_wait_s),
        wait=_spread(session.execute(_WAIT).one()),
        run=_spread(session.execute(_RUN).one()),
        attempts={(how, why): count for how, why, count in session.execute(_ATTEMPTS)},
        stale_writes=int(one.stale_writes),
        epoch_s={} if one.epoch_mean is None else {"mean": one.epoch_mean, "max": one.epoch_max},
        gpu_utilisation=one.gpu_utilisation,
        workers=one.workers,
        slots={
            (device, state): count
            for device, slots, busy in session.execute(_SLOTS, {"alive_s": ALIVE_S})
            for state, count in (("busy", busy), ("free", slots - busy))
        },
        deliveries={row.state: row.number for row in session.execute(_DELIVERIES)},
        database_bytes=one.database_bytes,
    )


def _spread(row: Row[Any]) -> Spread:
    quantiles = row.quantiles or [None] * len(QUANTILES)
    return Spread(row.number, float(row.sum_s), tuple(quantiles))


_JOBS = text("SELECT kind, state, count(*) FROM jobs GROUP BY kind, state")
_ATTEMPTS = text(
    """
    SELECT outcome, coalesce(reason ->> 'class', ''), count(*) FROM attempts
    WHERE ended_at IS NOT NULL GROUP BY 1, 2
    """
)
_SPREAD = f"""
    SELECT count(seconds) AS number, coalesce(sum(seconds), 0) AS sum_s,
           percentile_cont(array{list(QUANTILES)}) WITHIN GROUP (ORDER BY seconds)
             FILTER (WHERE at > now() - interval '{RECENT_H} hours') AS quantiles
    FROM ({{}}) AS took
"""
_WAIT = text(
    _SPREAD.format(
        "SELECT extract(epoch FROM started_at - created_at)::float8 AS seconds, started_at AS at "
        "FROM jobs WHERE started_at IS NOT NULL"
    )
)
_RUN = text(
    _SPREAD.format(
        "SELECT extract(epoch FROM ended_at - started_at)::float8 AS seconds, ended_at AS at "
        "FROM attempts WHERE ended_at IS NOT NULL"
    )
)
_SLOTS = text(
    """
    SELECT device, sum(slots)::int, coalesce(sum(
      (SELECT sum(jsonb_array_length(coalesce(job -> 'slots', '[0]')))
       FROM jsonb_array_elements(current) AS job)), 0)::int
    FROM workers
    WHERE stopped_at IS NULL AND heartbeat_at > now() - make_interval(secs => :alive_s)
    GROUP BY device
    """
)
_DELIVERIES = text("SELECT state, count(*) AS number FROM webhook_deliveries GROUP BY state")
_ONE = text(
    """
    SELECT
      (SELECT coalesce(extract(epoch FROM now() - min(queued_at)), 0)::float8 FROM jobs
       WHERE state = 'queued' AND (not_before IS NULL OR not_before <= now())) AS oldest_wait_s,
      (SELECT coalesce(sum(stale_writes), 0) FROM attempts) AS stale_writes,
      (SELECT count(*) FROM workers WHERE stopped_at IS NULL
       AND heartbeat_at > now() - make_interval(secs => :alive_s)) AS workers,
      (SELECT avg((metrics ->> 'sys/gpu_util')::float8) FROM jobs
       WHERE state = 'running') AS gpu_utilisation,
      pg_database_size(current_database()) AS database_bytes,
      epochs.*
    FROM (
      SELECT avg(newest.seconds) AS epoch_mean, max(newest.seconds) AS epoch_max
      FROM jobs, LATERAL (
        SELECT (payload ->> 'duration_s')::float8 AS seconds FROM events
        WHERE events.job_id = jobs.id AND events.type = 'epoch' ORDER BY epoch DESC LIMIT 1
      ) AS newest
      WHERE jobs.state = 'running'
    ) AS epochs
    """
)
