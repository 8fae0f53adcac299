"""`up`, `api`, `worker`: the server's processes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from app.cli.console import answer, answer_json, note
from app.cli.options import AsJson

Host = Annotated[
    str,
    typer.Option(help="Address to listen on; any but a loopback address needs an API key first."),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 = any free one.")]
PER_GPU = "one for each GPU, one without any"
Slots = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Jobs that train at the same time.",
        show_default=PER_GPU,
    ),
]
WorkerSlots = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=64,
        help="Jobs that train at the same time; 0 = only take back the jobs of lost workers.",
        show_default=PER_GPU,
    ),
]
NoSpares = Annotated[
    bool,
    typer.Option("--no-spares", help="Keep no trainer ready: less memory, slower starts."),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(up)
    app.command()(api)
    app.command()(worker)


def up(
    host: Host = "127.0.0.1",
    port: Port = 8642,
    slots: Slots = None,
    no_spares: NoSpares = False,
    as_json: AsJson = False,
) -> None:
    """Start the whole server here: PostgreSQL, Valkey, the API and a worker.

    Everything is kept under GOGOOKU3_HOME (./.gogooku3). GOGOOKU3_DATABASE_URL and
    GOGOOKU3_REDIS_URL name servers of your own instead of the two that come with it.
    A part that dies is started again. Ctrl-C stops everything; running jobs write a checkpoint
    and go on at the next start.
    """
    from app.cli.stack import Stack
    from app.settings import Settings

    settings = Settings()

    def ready(url: str) -> None:
        if as_json:
            answer_json({"url": url, "pid": os.getpid(), "home": str(settings.home)})
            return
        answer(f"gogooku3 is up at {url} (docs: {url}/docs)")
        answer(f"home {settings.home}, logs in {settings.logs}")
        answer("Ctrl-C stops it")

    Stack(settings, host, port, _worker_options(slots, no_spares), say=note).run(ready)
    note("stopped")


def api(host: Host = "127.0.0.1", port: Port = 8642) -> None:
    """Run the API alone, against the database and broker that the environment names."""
    _become("app.main", "--host", host, "--port", str(port))


def worker(
    slots: WorkerSlots = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="GPUs of the first slots, one each, as CUDA_VISIBLE_DEVICES names them.",
            show_default="those that are found",
        ),
    ] = None,
    no_spares: NoSpares = False,
) -> None:
    """Run a worker alone, against the database and broker that the environment names."""
    chosen = [] if gpus is None else ["--gpus", gpus]
    _become("worker.main", *_worker_options(slots, no_spares), *chosen)


def _worker_options(slots: int | None, no_spares: bool) -> list[str]:
    chosen = [] if slots is None else ["--slots", str(slots)]
    return [*chosen, *(["--no-spares"] if no_spares else [])]


def _become(module: str, *options: str) -> None:
    """Replace this process: signals and the exit code are then the server's own."""
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *options])
