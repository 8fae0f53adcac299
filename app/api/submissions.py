"""Jobs that are submitted at the same time: stored together, each answered by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DataError, IntegrityError

from app.api.answers import JobAnswer
from app.api.body import BodyNotJsonError, checked, parse
from app.broker.ringer import Ringer
from app.db.database import Database
from app.db.trail import Trail
from app.domain import InvalidSpecError
from app.jobs import idempotency
from app.jobs.batch import Submission, submit_batch
from app.jobs.check import check_spec

AT_ONCE = 50
"""Jobs of one transaction: few enough that the first of them does not wait long for the last."""
SIDE_BY_SIDE = 2
"""Transactions at the same time: while the database works on one, the next is made ready."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A request to create a job; never the same as another one."""

    raw: bytes
    key_id: str | None
    caller: str
    route: str
    idempotency_key: str | None
    trail: Trail


@dataclass(frozen=True, slots=True)
class Created:
    """A job as it is answered, and where it is served."""

    content: bytes
    location: str


class Submissions:
    """Made once per process. One transaction costs about as much for ten jobs as for one."""

    def __init__(self, database: Database, caches: Path, doorbell: Ringer) -> None:
        self._database = database
        self._caches = caches
        self._doorbell = doorbell

    def store(self, requests: Sequence[Asked]) -> Mapping[Asked, Created]:
        """Create the jobs of those requests that can be answered at once.

        Nothing is stored for the others: faulty, repeated, or with something in their way. Each
        of them is to be carried out by itself, where it can wait, and be refused with the reason.
        """
        ready = [one for asked in requests if (one := self._ready(asked)) is not None]
        if not ready:
            return {}
        try:
            created = self._store(ready)
        except (DataError, IntegrityError):
            # The database refuses one of them, which must not be the others' fault.
            return {}
        for _ in created:
            self._doorbell.ring()
        return created

    def _ready(self, asked: Asked) -> _Ready | None:
        try:
            body = parse(asked.raw)
            spec, header = checked(body, lambda given: check_spec(given, self._caches))
        except (BodyNotJsonError, InvalidSpecError):
            return None
        name = None
        if asked.idempotency_key is not None:
            name = idempotency.Asked(
                asked.caller, asked.route, asked.idempotency_key, body.digest()
            )
        return _Ready(asked, name, Submission(spec, body.value, header, asked.key_id, asked.trail))

    def _store(self, ready: Sequence[_Ready]) -> dict[Asked, Created]:
        named = {one.name for one in ready if one.name is not None}
        with self._database.session() as session:
            firsts = idempotency.begin_firsts(session, named) if named else set()
            due = list[_Ready]()
            for one in ready:
                if one.name is None:
                    due.append(one)
                elif one.name in firsts:
                    firsts.remove(one.name)
                    due.append(one)
            jobs = submit_batch(session, [one.submission for one in due])
            created, answers = {}, {}
            for one in due:
                job = jobs.get(one.submission)
                if job is None:
                    continue
                content = JobAnswer.model_validate(job).model_dump_json().encode()
                location = f"/v1/jobs/{job['id']}"
                created[one.asked] = Created(content, location)
                if one.name is not None:
                    headers = {"Location": location}
                    stored = idempotency.StoredAnswer(201, json.loads(content), headers)
                    answers[one.name] = stored
            if answers:
                idempotency.complete(session, answers)
        return created


@dataclass(frozen=True)
class _Ready:
    """A request whose body is in order."""

    asked: Asked
    name: idempotency.Asked | None
    submission: Submission
