"""What a person and a pipe see of a run."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from app.cli.progress import CURVE_HEIGHT, CURVE_WIDTH, LineView, LiveView, RunView, run_view


def epoch(number: int, rank_ic: float | None) -> dict[str, Any]:
    """An epoch's payload."""
    metrics = {
        "train/loss": 0.9,
        "valid/rank_ic": rank_ic,
        "valid/rank_ic@10": 0.02,
        "valid/rank_ic@5": 0.03,
        "sys/rss_bytes": 1e9,
    }
    return {"epoch": number, "metrics": metrics, "duration_s": 1.5}


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
RUN: list[tuple[str, Mapping[str, Any]]] = [
    ("state", {"state": "running"}),
    ("start", {"provenance": {"device": "cpu", "threads": 2, "parameters": 12345}}),
    ("progress", {"epoch": 1, "max_epochs": 2, "step": 3, "steps": 10, "eta_s": 20.0}),
    ("epoch", epoch(1, 0.0123)),
    ("checkpoint", {"epoch": 1, "is_best": True}),
    ("resume_point", {"epoch": 1}),
    ("warning", {"code": "x", "message": "the disk is nearly full"}),
    ("epoch", epoch(2, None)),
    ("checkpoint", {"epoch": 2, "is_best": False}),
    ("state", {"state": "failed", "reason": {"message": "it broke"}}),
]


def play(view: RunView) -> None:
    with view:
        for kind, payload in RUN:
            view.show(kind, payload)


def test_pipe_gets_one_line_per_event_worth_reading(capsys: pytest.CaptureFixture[str]) -> None:
    play(run_view("demo"))
    assert capsys.readouterr().out.splitlines() == [
        "running",
        "trains on cpu, 2 threads, 12,345 parameters",
        "epoch 1/2  train/loss 0.9000  valid/rank_ic 0.0123  valid/rank_ic@5 0.0300  "
        "valid/rank_ic@10 0.0200  1.5 s",
        "best checkpoint so far: epoch 1",
        "warning: the disk is nearly full",
        "epoch 2/2  train/loss 0.9000  valid/rank_ic –  valid/rank_ic@5 0.0300  "
        "valid/rank_ic@10 0.0200  1.5 s",
        "failed: it broke",
    ]


def test_a_later_attempt_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with LineView() as view:
        view.show("state", {"state": "running"}, attempt=2)
    assert capsys.readouterr().out == "running (attempt 2)\n"


def test_terminal_gets_a_bar_while_it_runs_and_every_epoch_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    view = run_view("demo")
    assert isinstance(view, LiveView)
    with view:
        for kind, payload in RUN[:5]:
            view.show(kind, payload)
        view.show("progress", {"epoch": 2, "max_epochs": 30, "step": 0, "steps": 10})
        for number in range(2, 31):
            view.show("epoch", epoch(number, 0.01))
        view._live.refresh()
        drawn = ESCAPES.sub("", capsys.readouterr().out)
    final = ESCAPES.sub("", capsys.readouterr().out)
    assert "demo epoch 30/30" in drawn
    assert "trains on cpu" in drawn
    titles = next(line for line in final.splitlines() if "epoch" in line)
    assert re.split(r"\s{2,}", titles.strip()) == [
        "epoch",
        "train loss",
        "rank IC",
        "5 d",
        "10 d",
        "time",
    ]
    assert "valid rank IC" in drawn
    titles_of_curves = next(line for line in final.splitlines() if "valid rank IC" in line)
    assert "train loss" in titles_of_curves
    # The last picture, and perhaps one that was due by then: each has two curves.
    signs = sum("\u2800" <= sign <= "\u28ff" for sign in final)
    assert signs in {count * 2 * CURVE_WIDTH * CURVE_HEIGHT for count in (1, 2, 3)}
    rows = [line.split() for line in final.splitlines() if line.strip()[:1].isdigit()]
    assert [int(row[0]) for row in rows[-30:]] == list(range(1, 31))
    best = next(line for line in final.splitlines() if "best" in line)
    assert best.split()[0].endswith("1")


def test_the_bar_goes_from_nothing_to_full() -> None:
    view = LiveView("demo")
    with view:
        shares = []
        for kind, payload in RUN:
            view.show(kind, payload)
            shares.append(view._progress.tasks[0].completed)
    assert shares == sorted(shares)
    assert shares[2] == pytest.approx((0 + 3 / 10) / 2)
    assert shares[-1] == pytest.approx(1.0)


STAGES: list[tuple[str, Mapping[str, Any]]] = [
    ("state", {"state": "running"}),
    ("progress", {"stage": "simulated", "share": 0.2, "eta_s": 4.0}),
    ("progress", {"stage": "written", "share": 1.0, "eta_s": 0.0}),
    ("dataset", {"dataset": "us", "rows": 10}),
    ("state", {"state": "succeeded"}),
]


def test_a_build_shows_its_stages(capsys: pytest.CaptureFixture[str]) -> None:
    for view in (LineView(), LiveView("build of us")):
        with view:
            for kind, payload in STAGES:
                view.show(kind, payload)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["running", " 20%  simulated", "100%  written", "succeeded"]
