"""Specifications and labels as they are typed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from app.cli.failures import CommandError, UsageError, explain
from app.cli.spec import read_labels, read_spec, read_values


def test_spec_from_a_file_and_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"dataset": "jp", "name": "ü"}', encoding="utf-8")
    assert read_spec(str(path)) == {"dataset": "jp", "name": "ü"}
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": 1}'))
    assert read_spec("-") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,}', "line 1, column 9"),
        ("[1]", "not a list"),
        ("", "not JSON"),
    ],
)
def test_a_spec_that_is_no_spec_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_spec(str(path))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_spec(str(tmp_path / "absent.json"))
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read"):
        read_spec(str(tmp_path / "bytes.json"))


def test_labels() -> None:
    assert read_labels(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(UsageError, match="KEY=VALUE"):
        read_labels(["a"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CommandError("it is full"), 1, "error: it is full\n"),
        (UsageError("which one?"), 2, "error: which one?\n"),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero"),
        (FileNotFoundError(2, "No such file", "x"), 1, "No such file"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(error, with_traceback=False) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_the_traceback_is_there_for_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError("deep inside")
    except KeyError as error:
        explain(error, with_traceback=True)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_values_are_put_where_their_path_says() -> None:
    given = ["config.optimizer.lr=3e-4", "config.seed=8", "name=a b", "labels.x=true"]
    assert read_values(given, into={"config": {"seed": 1, "max_epochs": 2}}) == {
        "config": {"seed": 8, "max_epochs": 2, "optimizer": {"lr": 3e-4}},
        "name": "a b",
        "labels": {"x": True},
    }


@pytest.mark.parametrize("given", ["seed", "=1", "a..b=1", "name.x=1"])
def test_what_is_no_change_is_said(given: str) -> None:
    with pytest.raises(UsageError):
        read_values([given], into={"name": "a"})
