"""Servers that die are started again, ever more patiently; stopping spares none."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field

import pytest

from app.cli import keeper as keeping
from app.cli.keeper import Keeper
from app.embedded.process import EmbeddedServerError


@dataclass
class Sleeper:
    """A real process that lives for a while."""

    lives_s: float = 60.0
    starts: list[float] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    name: str = ""
    refuses: bool = False
    child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child and self.is_alive() else None

    def start(self) -> None:
        self.starts.append(time.monotonic())
        if self.refuses and len(self.starts) > 1:
            raise EmbeddedServerError("the disk is full")
        self.child = subprocess.Popen(["sleep", str(self.lives_s)])

    def is_alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def stop(self) -> None:
        self.stopped.append(self.name)
        if self.child is not None:
            self.child.kill()
            self.child.wait()


def kill(sleeper: Sleeper) -> None:
    assert sleeper.child is not None
    sleeper.child.kill()
    sleeper.child.wait()


def test_a_dead_server_is_started_again_at_once_and_the_living_left_alone() -> None:
    said: list[str] = []
    keeper, first, second = Keeper(said.append), Sleeper(), Sleeper()
    keeper.start("first", first)
    keeper.start("second", second)
    try:
        assert not keeper.check()
        kill(first)
        assert keeper.check()
        assert first.is_alive()
        assert len(second.starts) == 1
        assert said == ["first ended unexpectedly; starting it again"]
    finally:
        keeper.stop()
    assert not first.is_alive()


def test_a_server_that_keeps_dying_is_started_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "FIRST_PAUSE_S", 0.1)
    keeper, brief = Keeper(lambda line: None), Sleeper(lives_s=0.0)
    keeper.start("brief", brief)
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        keeper.check()
        time.sleep(0.01)
    keeper.stop()
    pauses = [
        later - earlier for earlier, later in zip(brief.starts, brief.starts[1:], strict=False)
    ]
    # 0, 0.2, 0.4, 0.8 s and more: doubling, where an eager keeper would make 200 starts.
    assert 3 <= len(brief.starts) <= 6
    assert pauses[2] > 1.5 * pauses[1]


def test_a_steady_server_is_trusted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "STEADY_S", 0.05)
    keeper, sleeper = Keeper(lambda line: None), Sleeper()
    keeper.start("steady", sleeper)
    for _ in range(4):
        time.sleep(0.1)
        kill(sleeper)
        assert keeper.check(), "the restart of a steady server waits for nothing"
    keeper.stop()


def test_a_failing_start_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "FIRST_PAUSE_S", 0.05)
    said: list[str] = []
    keeper, sleeper = Keeper(said.append), Sleeper(refuses=True)
    keeper.start("full", sleeper)
    kill(sleeper)
    assert not keeper.check()
    assert "full does not start: the disk is full" in said
    sleeper.refuses = False
    deadline = time.monotonic() + 5.0
    while not keeper.check():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    keeper.stop()


def test_stopping_goes_backwards() -> None:
    stopped: list[str] = []
    keeper = Keeper(lambda line: None)
    for name in ("first", "second", "third"):
        keeper.start(name, Sleeper(name=name, stopped=stopped))
    keeper.stop()
    assert stopped == ["third", "second", "first"]
    assert keeper.kept == []
