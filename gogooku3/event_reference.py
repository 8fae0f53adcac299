"""The reference of events, generated from their definition: `docs/events.md`.

`python -m gogooku3.event_reference > docs/events.md` writes it; a test keeps it true.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import get_args

from gogooku3.config.reference import rows
from gogooku3.events import Event, EventModel

HEADER = """# Events

Generated from their definition (`python -m gogooku3.event_reference`).

## Of a job

What happened to a job, numbered by `seq` without gaps: `GET /v1/jobs/{id}/events?after=`, live at
`/stream` (server-sent events; `id:` is the `seq`, take up again with `Last-Event-ID`), as JSON
lines by `gogooku3 watch JOB --json`. Each has `seq`, `type`, `at`, `attempt` and a `payload`. The
stream ends with `event: end`. Types and keys may be added; unknown ones are to be ignored.

| type | payload | when |
|---|---|---|
"""
OF_A_JOB = (
    (
        "state",
        "`state`, `from`, `reason` (`class`, `code`, `message`, `next_action`)",
        "the job moved ([a job's life](lifecycle.md)); the first one is its creation",
    ),
    (
        "progress",
        "`epoch`, `max_epochs`, `step`, `steps`, `eta_s`; of a build `stage`, `share`, `eta_s`",
        "every few seconds while something moves",
    ),
    (
        "epoch",
        "`epoch`, `metrics` ([names](metrics.md)), `duration_s`",
        "an epoch is complete: once for each, whatever was killed",
    ),
    (
        "checkpoint",
        "`id`, `epoch`, `size`, `sha256`, `is_best`, `metrics`",
        "a checkpoint can be fetched",
    ),
    ("warning", "`code`, `message`", "something the user should know; the run goes on"),
    (
        "dataset",
        "`dataset`, `fingerprint`, `rows`, `stocks`, `days`, `features`, `size_bytes`",
        "a build is complete",
    ),
)
WEBHOOKS = """
## Of a webhook

What `events` of `POST /v1/webhooks` may name. A delivery's body has `id`, `type` (one of these),
`at`, `job` (`id`, `kind`, `name`, `dataset`, `labels`, `sweep_id`) and `event` (`seq`, `attempt`
and the `payload` of the job's own event). Addresses and signatures:
[security](security.md#webhooks).

| event | told when |
|---|---|
"""
OF_A_WEBHOOK = (
    (
        "job.queued",
        "the job was accepted, or is in the queue again: an attempt was lost, or somebody resumed "
        "or retried it",
    ),
    ("job.running", "an attempt begins"),
    ("job.paused", "it was put aside"),
    ("job.succeeded", "it is done"),
    ("job.failed", "it failed for good; `event.payload.reason` says why"),
    ("job.cancelled", "somebody cancelled it"),
    ("job.pruned", "its sweep's pruner ended it"),
    ("checkpoint.created", "a checkpoint can be fetched"),
)
OF_A_TRAINER = """
`POST /v1/webhooks/{id}/ping` sends a delivery of type `ping`, whatever the webhook asked for: only
`id` and `type`.

## Of a trainer

What a trainer or a builder tells its supervisor, one JSON object a line; `gogooku3 train --json`
prints the same. The server makes the events above of them.
"""


def reference() -> str:
    """The whole page as Markdown."""
    union, _ = get_args(Event)
    told = [f"| `{kind}` | {payload} | {when} |" for kind, payload, when in OF_A_JOB]
    asked = [f"| `{name}` | {when} |" for name, when in OF_A_WEBHOOK]
    lines = [HEADER + "\n".join(told), WEBHOOKS + "\n".join(asked), OF_A_TRAINER]
    for model in get_args(union):
        lines += _part(model)
    return "\n".join(lines)


def _part(model: type[EventModel]) -> Iterator[str]:
    yield f"### `{model.model_fields['type'].default}`\n"
    yield f"{' '.join((model.__doc__ or '').split())}\n"
    yield from rows(model, leave_out={"type"})
    yield ""


if __name__ == "__main__":
    sys.stdout.write(reference())
