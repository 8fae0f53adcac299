"""Jobs as JSON, made again only when they have changed."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.api.answers import JobAnswer, JobSummary
from app.api.etag import tag_of
from app.db import Job
from app.db.database import Database
from app.jobs.listing import LEFT_OUT, JobFilter, list_jobs

KEPT_BYTES = 32 * 2**20
"""Of each kind."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An answer about a job as of one version of its row."""

    version: int
    content: bytes
    etag: str


@dataclass(frozen=True)
class Listing:
    """A list of jobs that is asked for."""

    where: JobFilter
    order_by: str
    page_size: int
    page_token: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of jobs as it is answered."""

    content: bytes
    etag: str


class Kept:
    """The answers that were made last, up to a number of bytes; used from any thread."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._by_id: OrderedDict[str, Rendered] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, job_id: str, version: int) -> Rendered | None:
        """The answer for exactly this version."""
        with self._lock:
            found = self._by_id.get(job_id)
            if found is None or found.version != version:
                return None
            self._by_id.move_to_end(job_id)
            return found

    def put(self, job_id: str, made: Rendered) -> None:
        """Keep an answer; the ones that were not asked for longest go."""
        with self._lock:
            before = self._by_id.pop(job_id, None)
            self._bytes += len(made.content) - (len(before.content) if before else 0)
            self._by_id[job_id] = made
            while self._bytes > self._most_bytes:
                self._bytes -= len(self._by_id.popitem(last=False)[1].content)


class RenderedJobs:
    """Made once per process. The database says which version is the current one each time: what
    is kept here is only what that version looks like."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._whole = Kept()
        self._summaries = Kept()

    def look(self, job_ids: Sequence[str]) -> Mapping[str, Rendered]:
        """The whole answers of those of the jobs that there are."""
        found = {}
        with self._database.reading() as session:
            current = session.execute(_VERSIONS, {"ids": list(job_ids)}).all()
            for job_id, version in current:
                made = self._whole.get(job_id, version)
                found[job_id] = made or self._render(session.get_one(Job, job_id))
        return found

    def page(self, asked: Listing) -> Listed:
        """A JobPage, put together from what is JSON already. Raises InvalidSpecError."""
        with self._database.reading() as session:
            page = list_jobs(
                session,
                asked.where,
                order_by=asked.order_by,
                page_size=asked.page_size,
                page_token=asked.page_token,
            )
            items = self._summaries_of(session, page.items)
        token = json.dumps(page.next_page_token)
        content = b'{"items":[%b],"next_page_token":%b}' % (b",".join(items), token.encode())
        return Listed(content, tag_of(content))

    def _summaries_of(self, session: Session, rows: Sequence[tuple[str, int]]) -> list[bytes]:
        """The short answers of jobs, by id and version, in their order."""
        found = {
            job_id: made.content
            for job_id, version in rows
            if (made := self._summaries.get(job_id, version)) is not None
        }
        missing = [job_id for job_id, _ in rows if job_id not in found]
        if missing:
            statement = select(Job).options(*LEFT_OUT).where(Job.id.in_(missing))
            for job in session.scalars(statement):
                content = JobSummary.model_validate(job).model_dump_json().encode()
                self._summaries.put(job.id, Rendered(job.version, content, ""))
                found[job.id] = content
        return [found[job_id] for job_id, _ in rows if job_id in found]

    def _render(self, job: Job) -> Rendered:
        content = JobAnswer.model_validate(job).model_dump_json().encode()
        made = Rendered(job.version, content, tag_of(content))
        self._whole.put(job.id, made)
        return made


_VERSIONS = text("SELECT id, version FROM jobs WHERE id = ANY(:ids)")
