"""`db`: the database's schema."""

from __future__ import annotations

import typer

from app.cli.console import answer, answer_json
from app.cli.options import AsJson

commands = typer.Typer(help="The database's schema.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(commands, name="db")


@commands.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database to the newest schema; does nothing when it has it."""
    from app.cli.database import database_url
    from app.db.migrate import current
    from app.db.migrate import upgrade as migrate
    from app.settings import Settings

    with database_url(Settings()) as url:
        before = current(url)
        migrate(url)
        after = current(url)
    if as_json:
        answer_json({"before": before, "after": after})
    elif before == after:
        answer(f"the database is at the newest schema, {after}")
    else:
        answer(f"the database went from schema {before or 'none'} to {after}")
