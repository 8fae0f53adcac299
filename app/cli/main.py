"""The `gogooku3` command.

Each command loads what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app.cli import (
    actions,
    audit,
    comparison,
    data,
    db,
    jobs,
    keys,
    queue,
    server,
    sweep,
    train,
)
from app.cli.console import answer, answer_json
from app.cli.failures import explain
from app.cli.options import AsJson

EXAMPLES = """
Examples:

  gogooku3 data synth demo            make a dataset: a simulated market

  gogooku3 up                         start the whole server on this machine

  gogooku3 submit job.json --watch    submit a job and watch it train

  gogooku3 fetch JOB --best -o .      fetch its best checkpoint

  gogooku3 sweep sweep.json --watch   search a configuration, trial by trial

  gogooku3 train job.json -o out      train without a server
"""

app = typer.Typer(
    name="gogooku3",
    help="The training-job server for stock-ranking models.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # Wide enough for the commands' own sentences on a terminal that is.
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback()
def _root(
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where in the program an error arose.")
    ] = False,
) -> None:
    """The training-job server for stock-ranking models."""


@app.command(rich_help_panel="About")
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    import platform
    from importlib.metadata import version as version_of

    shown = {"version": version_of("gogooku3"), "python": platform.python_version()}
    if as_json:
        answer_json(shown)
    else:
        answer(f"gogooku3 {shown['version']} (Python {shown['python']})")


server.add_to(app)
db.add_to(app)
keys.add_to(app)
audit.add_to(app)
data.add_to(app)
jobs.add_to(app)
comparison.add_to(app)
actions.add_to(app)
queue.add_to(app)
sweep.add_to(app)
train.add_to(app)


def main() -> None:
    """Run the command line; an error is one line on standard error, never a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(explain(error, with_traceback="--traceback" in sys.argv[1:2]))
