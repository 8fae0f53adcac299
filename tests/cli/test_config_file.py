"""Which server a command talks to: options, environment, the person's file, the home, a default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.cli.config_file import config_path, read_config_file
from app.cli.connection import connect
from app.cli.failures import UsageError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file is looked for, in a folder that is empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("GOGOOKU3_HOME", str(tmp_path / "home"))
    config_path().parent.mkdir()
    return config_path()


def write(file: Path, text: str, mode: int = 0o600) -> None:
    file.write_text(text)
    file.chmod(mode)


def key_of(client: Any) -> str | None:
    """The key that a client sends."""
    header = client._transport._options["headers"].get("Authorization")
    return header.removeprefix("Bearer ") if header else None


def test_file_says_where_and_as_whom_unless_the_command_does(file: Path) -> None:
    write(file, 'url = "http://team:1"\napi_key = "gk_mine"\n')
    with connect(None, None) as client:
        assert (client.url, key_of(client)) == ("http://team:1", "gk_mine")
    with connect(None, "gk_other") as client:
        assert (client.url, key_of(client)) == ("http://team:1", "gk_other")
    with connect("http://elsewhere:2", None) as client:
        assert (client.url, key_of(client)) == ("http://elsewhere:2", None)


def test_without_a_file_it_is_this_machine(file: Path) -> None:
    with connect(None, None) as client:
        assert (client.url, key_of(client)) == ("http://127.0.0.1:8642", None)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("url = ", 0o600, "cannot read"),
        ('adress = "x"', 0o600, "unknown key 'adress'; there are url and api_key"),
        ("url = 5", 0o600, "url must be text, not 5"),
        ('api_key = "gk_mine"', 0o644, "chmod 600"),
    ],
)
def test_file_that_cannot_be_used_says_why(file: Path, text: str, mode: int, words: str) -> None:
    write(file, text, mode)
    with pytest.raises(UsageError, match=words):
        read_config_file()
