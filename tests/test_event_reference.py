"""The reference of events is what the code tells."""

from __future__ import annotations

import json
import re
from pathlib import Path

from app.jobs.webhooks import EVENTS
from gogooku3.event_reference import OF_A_JOB, OF_A_WEBHOOK, reference

ROOT = Path(__file__).parents[1]
TOLD = re.compile(r'append\(\s*session,\s*job,\s*"(\w+)"')


def test_page_is_up_to_date() -> None:
    command = "python -m gogooku3.event_reference > docs/events.md"
    assert (ROOT / "docs" / "events.md").read_text() == reference(), f"write it again: {command}"


def test_every_type_that_the_server_tells_is_named() -> None:
    code = "".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    # A state is told by the one function that moves a job.
    assert {*TOLD.findall(code), "state"} == {kind for kind, _, _ in OF_A_JOB}


def test_every_event_that_a_webhook_may_ask_for_is_named() -> None:
    assert [name for name, _ in OF_A_WEBHOOK] == list(EVENTS)


def test_the_api_promises_the_types_that_are_told_and_no_other() -> None:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    words = document["components"]["schemas"]["EventAnswer"]["properties"]["type"]["description"]
    assert set(re.findall(r"`(\w+)`", words)) == {kind for kind, _, _ in OF_A_JOB}


def test_every_key_of_a_trainer_s_events_has_its_row() -> None:
    page = reference()
    for key in ("provenance", "eta_s", "sha256", "next_action", "best_metrics"):
        assert f"| `{key}` |" in page
