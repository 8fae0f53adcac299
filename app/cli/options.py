"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, job_....")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="GOGOOKU3_URL",
        help="Address of the server.",
        show_default="config.toml, the server in GOGOOKU3_HOME, http://127.0.0.1:8642",
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="GOGOOKU3_API_KEY", help="API key, gk_....", show_default="config.toml"
    ),
]
