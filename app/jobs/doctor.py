"""Look for what is not as it should be: in the database, among the files, on the disk."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.artifacts import Artifacts, StoreAwayError
from app.db import Checkpoint

_NAMED = 5
"""Ids that a finding names."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    what: str
    advice: str


_CHECKS = (
    (
        "lost leases",
        "SELECT id FROM jobs WHERE state = 'running' "
        "AND lease_until < now() - interval '5 minutes'",
        "no worker takes lost jobs back: start one, `gogooku3 worker --slots 0` is enough",
    ),
    (
        "jobs that nobody takes",
        "SELECT id FROM jobs WHERE state = 'queued' AND queued_at < now() - interval '1 hour' "
        "AND (not_before IS NULL OR not_before < now()) AND NOT EXISTS (SELECT FROM workers "
        "WHERE stopped_at IS NULL AND heartbeat_at > now() - interval '1 minute' AND slots > 0)",
        "start a worker",
    ),
    (
        "records with gaps",
        "SELECT id FROM jobs JOIN (SELECT job_id, max(seq) AS newest FROM events GROUP BY job_id) "
        "AS told ON told.job_id = jobs.id WHERE told.newest <> jobs.last_seq",
        "the database was changed by hand, or restored in part: restore it whole",
    ),
    (
        "attempts without an end",
        "SELECT job_id FROM attempts JOIN jobs ON jobs.id = job_id WHERE ended_at IS NULL AND "
        "(jobs.state <> 'running' OR number <> jobs.attempt)",
        "the database was changed by hand, or restored in part: restore it whole",
    ),
    (
        "blocks of metrics",
        "SELECT DISTINCT job_id FROM (SELECT job_id, name, step / 128 AS block, count(*) AS points "
        "FROM metric_points WHERE step >= 128 GROUP BY 1, 2, 3) AS own FULL JOIN metric_blocks "
        "USING (job_id, name, block, points) "
        "WHERE own.job_id IS NULL OR metric_blocks.first_step IS NULL",
        "points were written by something else than this program: their curves are incomplete",
    ),
    (
        "webhooks that fail",
        "SELECT webhook_id FROM webhook_deliveries WHERE state = 'failed' AND "
        "created_at > now() - interval '7 days' GROUP BY webhook_id",
        "GET /v1/webhooks/ID/deliveries tells why",
    ),
    (
        "broken indexes",
        "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid",
        "REINDEX them",
    ),
)


def examine(session: Session, artifacts: Artifacts | None) -> list[Finding]:
    """Everything that is found; nothing is changed. Without `artifacts` no file is looked at."""
    findings = []
    for check, statement, advice in _CHECKS:
        ids = list(session.scalars(text(statement)))
        if ids:
            findings.append(Finding(check, _listed(ids), advice))
    if artifacts is not None:
        trouble = artifacts.trouble()
        if trouble:
            advice = "make room, or prune: gogooku3 db prune --dry-run"
            if artifacts.is_shared:
                advice = "look at the store, at the credentials for it, and at the disk"
            findings.append(Finding("artifacts", trouble, advice))
        try:
            findings += _files(session, artifacts)
        except StoreAwayError as error:
            findings.append(Finding("checkpoints", str(error), "they could not be looked at"))
    return findings


def _files(session: Session, artifacts: Artifacts) -> list[Finding]:
    findings = []
    gone, damaged = [], []
    rows = session.execute(select(Checkpoint.id, Checkpoint.path, Checkpoint.size))
    for checkpoint_id, path, size in rows.yield_per(1000):
        found = artifacts.size(path)
        if found is None:
            gone.append(checkpoint_id)
        elif found != size:
            damaged.append(checkpoint_id)
    if gone:
        advice = "pruned or lost: downloads answer 410; restore the artifacts if they are wanted"
        findings.append(Finding("checkpoints without a file", _listed(gone), advice))
    if damaged:
        advice = "restore these files: a download would end with another sha256"
        findings.append(Finding("checkpoints of another size", _listed(damaged), advice))
    return findings


def _listed(ids: list[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"{len(ids)}: {', '.join(ids[:_NAMED])}{more}"
