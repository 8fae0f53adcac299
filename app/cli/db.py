"""`db`: the database's schema, its backups, its health, and what need not be kept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.console import answer, answer_json, note
from app.cli.options import AsJson
from app.cli.table import print_table, size

commands = typer.Typer(
    help="The database: schema, backups, health, retention.", no_args_is_help=True
)


def _days(what: str) -> Any:
    """An option: for how many days something is kept."""
    return typer.Option(min=1, max=36_500, show_default="for ever", help=f"Days to keep {what}.")


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


@commands.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    as_json: AsJson = False,
) -> None:
    """Copy the whole database into a file, in one consistent view, while the server runs.

    Copy the artifacts after it, not before, be they a folder or a bucket: then every checkpoint
    that the database knows is in the copy.
    """
    from app.cli.database import database_url
    from app.db.backup import backup as write
    from app.settings import Settings

    with database_url(Settings()) as url:
        write(url, file)
    written = file.stat().st_size
    if as_json:
        answer_json({"file": str(file), "size": written})
    else:
        answer(f"{file}: {size(written)}")


@commands.command()
def restore(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What `backup` wrote."),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of what the database holds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back, all of it or nothing, and bring it to the newest schema.

    Stop the API and the workers first. Jobs that ran at the time of the backup go on from their
    last checkpoint.
    """
    from app.cli.database import acting, database_url
    from app.db.backup import restore as bring_back
    from app.db.database import Database
    from app.db.migrate import upgrade as migrate
    from app.jobs.workers import alive_count
    from app.settings import Settings

    with database_url(Settings()) as url:
        opened = Database(url)
        try:
            if (alive := alive_count(opened)) and replace:
                note(f"{alive} workers are alive: they lose what they run")
            opened.dispose()
            bring_back(url, file, replace=replace)
            migrate(url)
            with acting("db restore", file.name), opened.session() as session:
                # One write of its own, so that the audit log tells of it.
                session.connection().exec_driver_sql("SELECT pg_current_xact_id()")
        finally:
            opened.dispose()
    if as_json:
        answer_json({"file": str(file)})
    else:
        answer(f"the database is what it was when {file} was written")


@commands.command()
def doctor(as_json: AsJson = False) -> None:
    """Look for what is not as it should be; changes nothing. Exit code 1: something was found."""
    from app.cli.database import artifacts_here, database
    from app.jobs.doctor import examine
    from app.settings import Settings

    settings = Settings()
    with database(settings) as opened, opened.session() as session:
        findings = examine(session, artifacts_here(settings))
    if as_json:
        answer_json({"findings": [vars(finding) for finding in findings]})
    elif findings:
        print_table(["check", "found", "what to do"], [list(vars(f).values()) for f in findings])
    else:
        answer("nothing is wrong")
    if findings:
        raise typer.Exit(1)


@commands.command()
def prune(
    progress_days: Annotated[int | None, _days("events that only told how far a job was")] = None,
    logs_days: Annotated[int | None, _days("the logs of jobs")] = None,
    resume_days: Annotated[int | None, _days("resume states")] = None,
    checkpoints_days: Annotated[int | None, _days("checkpoints")] = None,
    orphans_days: Annotated[int | None, _days("checkpoints that no record tells of")] = None,
    deliveries_days: Annotated[int | None, _days("what was told to webhooks")] = None,
    audit_days: Annotated[int | None, _days("the audit log")] = None,
    best_too: Annotated[
        bool, typer.Option("--best-too", help="Also the best and the last checkpoints.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be removed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what ended jobs left behind longer ago than this; what is not named is kept for ever.

    States, epochs, metrics and attempts are never removed, nor the best and the last checkpoint
    without --best-too, nor anything of a job that has not ended.

    Example: gogooku3 db prune --logs-days 90 --checkpoints-days 30 --dry-run
    """
    from app.cli.database import acting, artifacts_here, database
    from app.jobs.retention import Retention
    from app.jobs.retention import prune as remove
    from app.settings import Settings

    settings = Settings()
    policy = Retention(
        progress_days=progress_days,
        logs_days=logs_days,
        resume_days=resume_days,
        checkpoints_days=checkpoints_days,
        orphans_days=orphans_days,
        best_too=best_too,
        deliveries_days=deliveries_days,
        audit_days=audit_days,
    )
    counts, sizes = Counter[str](), Counter[str]()
    with database(settings) as opened, acting("" if dry_run else "db prune"):
        for one in remove(opened, artifacts_here(settings), policy, dry_run=dry_run):
            counts[one.what] += one.count
            sizes[one.what] += one.size
    rows = [{"what": what, "count": counts[what], "size": sizes[what]} for what in counts]
    if as_json:
        answer_json({"dry_run": dry_run, "items": rows})
    elif rows:
        header = ["would be removed" if dry_run else "removed", "count", "size"]
        print_table(header, [[what, counts[what], size(sizes[what])] for what in counts])
    else:
        note("there is nothing to remove")
