"""The person's own settings of the command line: which server, and as whom."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from app.cli.failures import UsageError

KEYS = ("url", "api_key")


@dataclass(frozen=True)
class ConfigFile:
    """What the file says; what it does not say is None."""

    url: str | None = None
    api_key: str | None = None


def config_path() -> Path:
    """Where the file is looked for: `config.toml` in the folder that the system has for such."""
    import typer

    return Path(typer.get_app_dir("gogooku3")) / "config.toml"


def read_config_file() -> ConfigFile:
    """The person's settings; an absent file says nothing.

    Raises UsageError for what is not TOML, an unknown key, a value that is no text, and a file
    with an API key that others may read.
    """
    path = config_path()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ConfigFile()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    for key, value in found.items():
        if key not in KEYS:
            raise UsageError(f"{path}: unknown key {key!r}; there are {' and '.join(KEYS)}")
        if not isinstance(value, str):
            raise UsageError(f"{path}: {key} must be text, not {value!r}")
    if "api_key" in found and path.stat().st_mode & 0o077:
        raise UsageError(f"{path} holds an API key and others may read it: chmod 600 {path}")
    return ConfigFile(**found)
