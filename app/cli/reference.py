"""The command line as a page: `python -m app.cli.reference > docs/cli.md` writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer.main

from app.cli.main import app

HEADER = """# Command line

Every command, generated from the commands themselves (`python -m app.cli.reference`). On a terminal
answers are tables, bars and curves, in a pipe plain tab-separated lines; `--json` is for programs
(`api` and `worker` log JSON lines anyway). `gogooku3 --install-completion` lets the shell complete
commands and options.

Which server, and as whom: `--url` and `--api-key` go before `GOGOOKU3_URL` and `GOGOOKU3_API_KEY`,
those before the person's file `~/.config/gogooku3/config.toml`, and that before the server that
runs in `GOGOOKU3_HOME`. The key of the file is for the server of the file only, and a file that
holds one must be its owner's alone (`chmod 600`).

```toml
url = "https://gogooku3.example.org"
api_key = "gk_..."
```

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
