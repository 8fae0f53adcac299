"""`audit`: who changed what. Reads the database itself, as `keys` does."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.console import answer_json, note
from app.cli.options import AsJson
from app.cli.table import print_table


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(audit)


def audit(
    actor: Annotated[
        str | None, typer.Option(help="An API key's id, `open` or `cli:USER`.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The id of what was changed or made.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, newest first.

    Example: gogooku3 audit --target job_01k8z3v8m4e9c2r7t5w6x0y1za
    """
    from app.cli.database import session
    from app.jobs.audit import AuditFilter, entries
    from app.settings import Settings

    with session(Settings()) as open_session:
        rows = [
            {
                "seq": entry.seq,
                "at": entry.at,
                "actor": entry.actor,
                "action": entry.action,
                "target": entry.target,
                "created": entry.created,
                "request_id": entry.request_id,
                "address": entry.address,
            }
            for entry in entries(open_session, AuditFilter(actor=actor, target=target), limit)
        ]
    if as_json:
        answer_json({"items": rows})
    elif rows:
        shown = ["at", "actor", "action", "target", "address"]
        print_table(shown, [[row[name] for name in shown] for row in rows])
    else:
        note("nothing has been changed yet")
