"""Accept many jobs at the same time: two statements and one commit for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db import Base, Json
from app.db.jsonb import dumps
from app.db.trail import Trail, follow
from app.jobs import datasets
from app.jobs.submit import FIRST_PAYLOAD, row_of
from gogooku3.config import JobSpec
from gogooku3.data.header import DatasetHeader


@dataclass(frozen=True, eq=False)
class Submission:
    """A checked job, and who submits it."""

    spec: JobSpec
    given: dict[str, Any]
    """What the client sent."""
    header: DatasetHeader
    api_key_id: str | None
    trail: Trail


def submit_batch(session: Session, asked: Sequence[Submission]) -> Mapping[Submission, Json]:
    """Store those of the jobs that nothing stands in the way of, each with its first event and its
    line in the audit log; answers the columns of each.

    Nobody waits here for anybody: jobs on a dataset that is being built or changed, or of a key
    with a limit, are left out. `submit` knows whom to wait for and how to refuse.
    """
    free = datasets.try_share(session, {one.spec.dataset for one in asked})
    rows = {}
    for one in asked:
        if one.spec.dataset in free and one.header.path.is_file():
            with follow(one.trail):
                rows[one] = row_of(one.spec, one.given, one.header, one.api_key_id)
    if not rows:
        return {}
    parameters = {
        "rows": dumps(list(rows.values())),
        "payload": dumps(FIRST_PAYLOAD),
        "ids": [row["id"] for row in rows.values()],
        "actors": [one.trail.actor for one in rows],
        "actions": [one.trail.action for one in rows],
        "addresses": [one.trail.address for one in rows],
    }
    stored = {row.id: row._asdict() for row in session.execute(_STORE, parameters)}
    return {
        one: _NOTHING | row | stored[row["id"]] for one, row in rows.items() if row["id"] in stored
    }


_NOTHING: Json = dict.fromkeys(Base.metadata.tables["jobs"].columns.keys())
_COLUMNS = """
    id, kind, name, state, dataset, dataset_fingerprint, labels, priority, note, spec, config,
    config_sources, resources, limits, attempt, attempts_used, last_seq, force_requested,
    api_key_id, request_id
"""
# One parameter for all rows: with one for each of 300 values, most of the time would go into
# reading the statement.
_STORE = text(
    f"""
    WITH given AS MATERIALIZED (
      SELECT {_COLUMNS}
      FROM jsonb_populate_recordset(CAST(NULL AS jobs), CAST(:rows AS jsonb))
    ), stored AS (
      INSERT INTO jobs ({_COLUMNS})
      SELECT {_COLUMNS} FROM given
      WHERE NOT EXISTS (
          SELECT FROM jobs AS build
          WHERE build.dataset = given.dataset AND {datasets.IS_LIVE_BUILD}
        ) AND (
          api_key_id IS NULL
          OR EXISTS (SELECT FROM api_keys WHERE id = api_key_id AND max_queued IS NULL)
        )
      RETURNING id, created_at, queued_at, updated_at, version, retries
    ), told AS (
      INSERT INTO events (job_id, seq, type, attempt, payload)
      SELECT id, 1, 'state', 0, CAST(:payload AS jsonb) FROM stored
    ), noted AS (
      INSERT INTO audit_log (actor, action, target, created, request_id, address)
      SELECT actor, action, id, ARRAY[id], request_id, address
      FROM given
      JOIN stored USING (id)
      JOIN unnest(CAST(:ids AS text[]), CAST(:actors AS text[]), CAST(:actions AS text[]),
                  CAST(:addresses AS text[])) AS trail (id, actor, action, address) USING (id)
      WHERE actor IS NOT NULL
    )
    SELECT * FROM stored
    """
)
