"""The command line as a page: `python -m app.cli.reference > docs/cli.md` writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer.main

from app.cli.main import app

HEADER = """# Command line

Every command, generated from the commands themselves (`python -m app.cli.reference`). Options go
before the environment (`GOGOOKU3_URL`, `GOGOOKU3_API_KEY`, `GOGOOKU3_HOME`), and that before what a
running server in the home says. On a terminal answers are tables and bars, in a pipe plain
tab-separated lines; `--json` is for programs. `gogooku3 --install-completion` lets the shell
complete commands.

| exit code | meaning |
|---|---|
| 0 | done; of `submit --watch` and `watch`: the job succeeded |
| 1 | it went wrong: the server is away, the job failed, nothing was found |
| 2 | it was asked wrongly: an unknown option, a specification that is not valid |
| 130 | Ctrl-C |

An error of the server ends with its request id, which is also in the server's log.
"""
HIDDEN = {"install_completion", "show_completion", "help"}


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEADER, *_commands(typer.main.get_command(app), "gogooku3")])


def _commands(command: Any, name: str) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below:
        for word in sorted(below):
            yield from _commands(below[word], f"{name} {word}")
        return
    yield f"## {name}\n"
    yield f"{(command.help or '').strip()}\n"
    rows = [_row(parameter) for parameter in command.params if parameter.name not in HIDDEN]
    if rows:
        yield "| | meaning |\n|---|---|"
        yield from rows
        yield ""


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        shown = parameter.make_metavar() if not parameter.metavar else parameter.metavar
        return f"| `{shown}` | {_one_line(getattr(parameter, 'help', '') or '')} |"
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    return f"| {names} | {_one_line(parameter.help or '')} |"


def _one_line(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
