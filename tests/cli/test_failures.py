"""What a command says when it fails."""

from __future__ import annotations

import pytest

from app.artifacts import StoreAwayError
from app.cli.failures import FAILED, explain
from app.db.backup import BackupError


@pytest.mark.parametrize("kind", [BackupError, StoreAwayError])
def test_words_that_are_meant_for_a_person_stand_by_themselves(
    kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(kind("say --replace"), with_traceback=False) == FAILED
    assert capsys.readouterr().err == "error: say --replace\n"


def test_a_defect_says_how_to_see_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(KeyError("nobody knows"), with_traceback=False) == FAILED
    assert "KeyError" in (told := capsys.readouterr().err)
    assert "--traceback" in told
