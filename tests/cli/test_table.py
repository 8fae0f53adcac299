"""Tables and values: ruled for a person, tab-separated in a pipe."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from app.cli.table import cell, duration, print_fields, print_table, size


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "yes"),
        (0.0, "0.0000"),
        (0.12345, "0.1235"),
        (-0.5, "-0.5000"),
        (0.00012, "1.2e-04"),
        (12, "12"),
        ("x", "x"),
    ],
)
def test_cell(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_times_are_shown_in_local_time() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert cell(at) == at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (1.23, "1.2 s"), (59.4, "59 s"), (125, "2 min 05 s"), (11_400, "3 h 10 min")],
)
def test_duration(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(12, "12 B"), (1500, "1.5 kB"), (2_000_000, "2.0 MB"), (7e12, "7.0 TB")]
)
def test_size(count: int, shown: str) -> None:
    assert size(count) == shown


def test_pipe_gets_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["id", "value"], [["a", 0.5], ["b", None]])
    assert capsys.readouterr().out == "id\tvalue\na\t0.5000\nb\t–\n"


def test_terminal_gets_a_table_with_whole_identifiers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    identifier = "job_" + "x" * 26
    print_table(["id", "name", "value"], [[identifier, "a long name " * 6, 1.5]], title="jobs")
    out = capsys.readouterr().out
    assert identifier in out
    assert "jobs" in out
    assert "\t" not in out


def test_fields(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"state": "running", "epoch": None})
    assert capsys.readouterr().out == "state\trunning\nepoch\t–\n"
