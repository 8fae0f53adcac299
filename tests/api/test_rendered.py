"""Answers that are kept are those of the current version, and many who ask cost one question."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from app.api.rendered import Kept, Rendered
from app.api.together import Together
from app.jobs.cancel import cancel
from app.jobs.record import record
from gogooku3.events import EpochEvent, ProgressEvent


def test_what_is_kept_is_never_another_version() -> None:
    kept = Kept(most_bytes=10)
    kept.put("a", Rendered(1, b"12345", "x"))
    assert kept.get("a", 2) is None
    assert kept.get("a", 1) is not None
    kept.put("a", Rendered(2, b"1234567", "y"))
    assert kept.get("a", 1) is None
    kept.put("b", Rendered(1, b"1234", "z"))
    assert kept.get("a", 2) is None, "there is no room for both, and b is newer"
    assert kept.get("b", 1) is not None


def test_every_change_is_seen_at_once(http: httpx.Client, running: Any, spec: Any) -> None:
    """After each write of anybody's, the answer and its ETag are new, in the list as well."""
    spec["priority"] = 900
    made = http.post("/v1/jobs", json=spec).json()
    job_id = made["id"]
    tags = set()

    def look() -> dict[str, Any]:
        answer = http.get(f"/v1/jobs/{job_id}")
        etag = answer.headers["etag"]
        assert etag not in tags
        tags.add(etag)
        again = http.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
        listed = http.get("/v1/jobs", params={"order_by": "-priority"}).json()["items"]
        whole = dict(answer.json())
        assert next(one for one in listed if one["id"] == job_id).items() <= whole.items()
        return whole

    assert look() == made
    held = running.claim()
    assert held.job_id == job_id
    assert look()["state"] == "running"
    for event, field in (
        (ProgressEvent(epoch=1, max_epochs=3, step=1, steps=9), "progress"),
        (EpochEvent(epoch=1, metrics={"valid/rank_ic": 0.1}, duration_s=1.0), "metrics"),
    ):
        with running.database.session() as session:
            record(session, job_id, held.attempt, [event])
        assert look()[field]
    http.patch(f"/v1/jobs/{job_id}", json={"note": "seen"})
    assert look()["note"] == "seen"
    with running.database.session() as session:
        cancel(session, job_id, force=True)
    assert look()["cancel_requested_at"]


def test_many_who_ask_cost_two_looks() -> None:
    looks: list[Sequence[str]] = []
    may_go = threading.Event()

    def look(keys: Sequence[str]) -> Mapping[str, str]:
        looks.append(keys)
        may_go.wait(30)
        return {key: key.upper() for key in keys if key != "gone"}

    async def ask() -> list[str | None]:
        together = Together(look)
        first = asyncio.create_task(together.ask("a"))
        while not looks:
            await asyncio.sleep(0.01)
        others = [asyncio.create_task(together.ask(key)) for key in ["a", "b", "gone"] * 100]
        given_up = asyncio.create_task(together.ask("b"))
        await asyncio.sleep(0)
        given_up.cancel()
        may_go.set()
        return [await first, *[await other for other in others]]

    answers = asyncio.run(ask())
    assert answers == ["A", *["A", "B", None] * 100]
    # What was asked while the first look was under way is not answered by it.
    assert looks == [["a"], ["a", "b", "gone"]]


def test_fault_is_told_to_all_who_asked_and_to_nobody_after() -> None:
    def look(keys: Sequence[str]) -> Mapping[str, str]:
        if "bad" in keys:
            raise RuntimeError("away")
        return dict.fromkeys(keys, "found")

    async def ask() -> None:
        together = Together(look)
        both = await asyncio.gather(
            together.ask("bad"), together.ask("good"), return_exceptions=True
        )
        assert [str(error) for error in both] == ["away", "away"]
        assert await together.ask("good") == "found"

    asyncio.run(ask())
    with pytest.raises(RuntimeError):
        asyncio.run(Together(look).ask("bad"))


def test_a_few_looks_side_by_side_each_of_a_few_keys() -> None:
    """A look that hangs holds up those who are in it, and nobody is asked for twice."""
    looks: list[list[int]] = []
    may_go = threading.Event()

    def look(keys: Sequence[int]) -> Mapping[int, int]:
        looks.append(list(keys))
        if 0 in keys:
            may_go.wait(30)
        return {key: -key for key in keys}

    async def ask() -> None:
        together = Together(look, at_once=3, side_by_side=2)
        hanging = asyncio.create_task(together.ask(0))
        while not looks:
            await asyncio.sleep(0.01)
        assert await asyncio.gather(*map(together.ask, range(1, 8))) == [-n for n in range(1, 8)]
        assert not hanging.done()
        may_go.set()
        assert await hanging == 0

    asyncio.run(ask())
    assert sorted(key for keys in looks for key in keys) == list(range(8))
    assert max(map(len, looks)) == 3
