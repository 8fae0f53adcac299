"""`keys`: who may use the API. Works on the database itself: the first key needs no key."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.console import answer, answer_json, note
from app.cli.failures import UsageError
from app.cli.options import AsJson
from app.cli.table import print_table

commands = typer.Typer(help="API keys: who may use the server.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(commands, name="keys")
