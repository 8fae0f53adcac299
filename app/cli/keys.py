"""`keys`: who may use the API. Works on the database itself: the first key needs no key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.console import answer, answer_json, note
from app.cli.options import AsJson
from app.cli.table import print_table

if TYPE_CHECKING:
    from app.db import ApiKey

commands = typer.Typer(help="API keys: who may use the server.", no_args_is_help=True)


def _most(what: str) -> Any:
    """An option: how many jobs of a key may be something at once."""
    return typer.Option(min=1, show_default="no limit", help=f"Jobs that may {what} at once.")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(commands, name="keys")


@commands.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    scope: Annotated[
        Literal["read", "submit", "admin"],
        typer.Option(help="What it may do; each includes the ones before it."),
    ] = "submit",
    expires_days: Annotated[
        int | None, typer.Option(min=1, help="Days it is good for.", show_default="for ever")
    ] = None,
    max_queued: Annotated[int | None, _most("wait")] = None,
    max_running: Annotated[int | None, _most("run")] = None,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(min=0, help="Requests; 0 = no limit.", show_default="the server's setting"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it; it cannot be shown again.

    Example: gogooku3 keys create dashboard --scope read
    """
    # SQLAlchemy takes half a second to load: only the commands on the database do.
    from app.cli.database import session
    from app.domain import Scope
    from app.jobs import keys
    from app.settings import Settings

    expires_at = datetime.now(UTC) + timedelta(days=expires_days) if expires_days else None
    with session(Settings(), "keys create") as open_session:
        key, secret = keys.create(
            open_session,
            name,
            Scope(scope),
            expires_at=expires_at,
            max_queued=max_queued,
            max_running=max_running,
            requests_per_minute=requests_per_minute,
        )
        made = {"id": key.id, "key": secret, "name": key.name, "scope": key.scope}
    if as_json:
        answer_json(made)
        return
    answer(secret)
    note(f"{made['id']} for {name}, scope {scope}: keep the key, it cannot be shown again")


@commands.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the API keys, without their secrets."""
    from app.cli.database import session
    from app.jobs import keys
    from app.settings import Settings

    with session(Settings()) as open_session:
        rows = [_fields(key) for key in keys.list_keys(open_session)]
    if as_json:
        answer_json({"items": rows})
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        note("no keys; make one with: gogooku3 keys create NAME --scope admin")


@commands.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, key_....")],
    as_json: AsJson = False,
) -> None:
    """Make an API key useless from now on."""
    from app.cli.database import session
    from app.jobs import keys
    from app.settings import Settings

    with session(Settings(), "keys revoke", key_id) as open_session:
        key = keys.revoke(open_session, key_id)
        open_session.refresh(key)
        fields = _fields(key)
    if as_json:
        answer_json(fields)
    else:
        answer(f"{key_id} is revoked")


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scope": str(key.scope),
        "prefix": key.prefix,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
        "max_queued": key.max_queued,
        "max_running": key.max_running,
        "requests_per_minute": key.requests_per_minute,
    }
