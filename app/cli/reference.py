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
_TYPES = {"str": "text", "list[str]": "text", "path": "path", "file": "path", "int": "int"}
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
    context = command.make_context(name, [], resilient_parsing=True)
    rows = [_row(one, context) for one in command.params if one.name not in HIDDEN]
    if rows:
        yield "| | value | default | meaning |\n|---|---|---|---|"
        yield from rows
        yield ""


def _row(parameter: Any, context: Any) -> str:
    if parameter.param_type_name == "argument":
        names = _codes(parameter.metavar or parameter.display_name_raw)
    else:
        names = ", ".join(map(_code, [*parameter.opts, *parameter.secondary_opts]))
    _, shown = parameter.get_help_record(context)
    meaning = parameter.help or ""
    value, default = [_value(parameter, context)], []
    # `--help` puts everything but the meaning into brackets behind it.
    for fact in shown.removeprefix(meaning).strip().removeprefix("[").removesuffix("]").split("; "):
        kind, _, said = fact.partition(": ")
        if kind == "default":
            default.append(said[1:-1] if said.startswith("(") else _code(said))
        elif kind == "env var":
            default.append(_code(said))
        elif fact == "required":
            default.append(fact)
        elif fact:
            value.append(fact.replace("<=", " <= ").replace(">=", " >= "))
    cells = [names, " ".join(filter(None, value)), ", ".join(default), " ".join(meaning.split())]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _value(parameter: Any, context: Any) -> str:
    """What may be given: a type's name, or the allowed words."""
    if getattr(parameter, "is_flag", False):
        return ""
    said = parameter.display_type_rich(context)
    if parameter.param_type_name == "argument":
        said = parameter.display_type(context)
    if "|" in said:
        return _codes(said.strip("<>"))
    if not said.startswith("<"):
        return _code(said)
    plain = said.strip("<>").replace(" range", "").replace("%Y-%m-%d", "YYYY-MM-DD")
    return str(_TYPES.get(plain, plain))


def _codes(words: str) -> str:
    return " / ".join(map(_code, words.split("|")))


def _code(words: str) -> str:
    return f"`{words}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
