"""Ends for lack of memory are told from other kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.classify import Asked, classify
from worker.memory import oom_kills


@pytest.mark.parametrize(
    ("exit_code", "kills", "last_line", "code"),
    [
        (-9, 1, "", "oom-killed"),
        (-9, 0, "", "killed"),
        (-11, 1, "", "killed"),
        (-6, 0, "what():  std::bad_alloc", "oom-killed"),
        (1, 0, "std::bad_alloc", "oom-killed"),
        (1, 1, "", "exit"),
    ],
)
def test_a_kill_for_memory_is_known_by_the_kernel_s_count(
    exit_code: int, kills: int, last_line: str, code: str
) -> None:
    ending = classify(exit_code, last=None, asked=None, last_line=last_line, oom_kills=kills)
    assert ending.reason is not None
    assert ending.reason["code"] == code
    assert (ending.reason["class"] == "oom") == (code == "oom-killed")


def test_who_was_asked_to_end_was_not_short_of_memory() -> None:
    ending = classify(-9, last=None, asked=Asked.CANCEL, oom_kills=1)
    assert ending.reason is None


def test_the_kernel_s_count(tmp_path: Path) -> None:
    told = tmp_path / "vmstat"
    told.write_text("pgfault 123\noom_kill 7\noom_kill_other 9\n")
    assert oom_kills(told) == 7
    assert oom_kills(tmp_path / "none") == 0
    assert oom_kills() >= 0
