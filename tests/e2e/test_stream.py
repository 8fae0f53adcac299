"""A listener that loses its connection twice gets every event once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow


def listen(url: str, last: int, until: int | None) -> Iterator[tuple[int, str]]:
    """(id, event) of the stream after `last`; the connection is dropped after `until` events."""
    headers = {"Last-Event-ID": str(last)} if last else {}
    with httpx.stream("GET", url, headers=headers, timeout=120) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = 0
        seq, name = 0, ""
        for line in answer.iter_lines():
            if line.startswith("id:"):
                seq = int(line[3:])
            elif line.startswith("event:"):
                name = line[6:].strip()
            elif not line and name:
                yield seq, name
                seen += 1
                if name == "end" or seen == until:
                    return
                name = ""


def test_two_disconnects_lose_and_double_nothing(stack: Any, spec: dict[str, Any]) -> None:
    job_id = stack.submit(spec)["id"]
    url = f"{stack.url}/v1/jobs/{job_id}/stream"
    received: list[tuple[int, str]] = []
    for until in (2, 3, None):
        last = received[-1][0] if received else 0
        received += list(listen(url, last, until))

    assert received[-1][1] == "end"
    sequence = [seq for seq, name in received if name != "end"]
    assert sequence == list(range(1, len(sequence) + 1))
    stored = [(event["seq"], event["type"]) for event in stack.events(job_id)]
    assert [item for item in received if item[1] != "end"] == stored
