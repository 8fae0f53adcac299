"""Graphs beside the dataset: shared, checked, and never in the way of a run."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from gogooku3.config import GraphConfig
from gogooku3.data.header import list_datasets
from gogooku3.data.panel import Panel
from gogooku3.graph import GraphBuilder, builder, store
from gogooku3.graph.edges import DayGraph
from gogooku3.graph.store import GraphStore, key

CONFIG = GraphConfig(leader_neighbours=1)
DAY = 120


@pytest.fixture
def own(panel: Panel, tmp_path: Path) -> Panel:
    """The panel, in a folder without graphs."""
    path = tmp_path / "g.arrow"
    shutil.copy(panel.header.path, path)
    return Panel.open(path)


def are_same(left: DayGraph, right: DayGraph) -> bool:
    pairs = ((getattr(left, name), getattr(right, name)) for name in vars(left))
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


def forbid_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> None:
        raise AssertionError("a graph was built that is in a file")

    monkeypatch.setattr(builder, "build_graph", fail)


def test_a_second_run_builds_nothing(own: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    built = GraphBuilder(own, CONFIG).graph(DAY + 3)
    (file,) = own.header.path.parent.rglob("*.safetensors")
    assert file.parent.parent == own.header.path.with_name("g.graphs")
    assert file.stem == own.calendar[DAY].isoformat()
    forbid_building(monkeypatch)
    assert are_same(GraphBuilder(own, CONFIG).graph(DAY), built)
    # These are read where a graph is used: all their values share the files.
    other = CONFIG.model_copy(update={"sector_weight": 3.0, "rebuild_days": DAY // 2})
    assert are_same(GraphBuilder(own, other).graph(DAY), built)


def test_the_key_tells_datasets_and_settings_apart() -> None:
    keys = {key("a", CONFIG), key("b", CONFIG)}
    for name in ("window", "neighbours", "sector_neighbours", "leader_neighbours"):
        keys.add(key("a", CONFIG.model_copy(update={name: 7})))
    keys |= {key("a", CONFIG.model_copy(update={"halflife": 3.0}))}
    keys |= {key("a", CONFIG.model_copy(update={"shrinkage": 0.5}))}
    assert len(keys) == 8
    assert key("a", CONFIG.model_copy(update={"rebuild_days": 1})) in keys


def test_a_damaged_file_is_built_again(own: Panel, caplog: pytest.LogCaptureFixture) -> None:
    built = GraphBuilder(own, CONFIG).graph(DAY)
    path = GraphStore(own.header, CONFIG).path(DAY)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1000] ^= 4
    foreign = bytearray(whole)
    foreign[40] ^= 1
    damages = [b"", whole[:5], whole[:-1], whole[: len(whole) // 2], bytes(flipped), bytes(foreign)]
    for content in [*damages, b"\xff" * 4000, whole + b"more"]:
        caplog.clear()
        path.unlink()
        path.write_bytes(content)
        assert GraphStore(own.header, CONFIG).read(DAY) is None
        assert "is built again" in caplog.text
        assert are_same(GraphBuilder(own, CONFIG).graph(DAY), built)
        assert path.read_bytes() == whole


def test_a_graph_of_another_shape_is_not_taken(own: Panel) -> None:
    GraphBuilder(own, CONFIG).graph(DAY)
    wider = CONFIG.model_copy(update={"neighbours": 11})
    target = GraphStore(own.header, wider).path(DAY)
    target.parent.mkdir()
    shutil.copy(GraphStore(own.header, CONFIG).path(DAY), target)
    assert GraphStore(own.header, wider).read(DAY) is None


def test_a_graph_of_another_day_or_setting_is_not_taken(own: Panel) -> None:
    GraphBuilder(own, CONFIG).graph(DAY)
    kept = GraphStore(own.header, CONFIG)
    shutil.copy(kept.path(DAY), kept.path(DAY + 5))
    assert kept.read(DAY + 5) is None
    other = GraphStore(own.header, CONFIG.model_copy(update={"halflife": 7.0}))
    other.folder.mkdir()
    shutil.copy(kept.path(DAY), other.path(DAY))
    assert other.read(DAY) is None
    assert kept.read(DAY) is not None


def test_kept_graphs_hold_no_file_open(own: Panel) -> None:
    graphs = GraphBuilder(own, CONFIG.model_copy(update={"rebuild_days": 1}))
    graphs.graph(DAY)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for day in range(DAY, DAY + 20):
        graphs.graph(day)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_folder_that_cannot_be_written_costs_one_warning(
    own: Panel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write", refuse)
    graphs = GraphBuilder(own, CONFIG)
    with caplog.at_level(logging.WARNING):
        first = graphs.graph(DAY)
        graphs.graph(DAY + 5)
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text
    assert graphs.graph(DAY) is first


def test_a_file_where_the_folder_should_be_costs_one_warning(
    own: Panel, caplog: pytest.LogCaptureFixture
) -> None:
    own.header.path.with_suffix(".graphs").write_text("in the way")
    graphs = GraphBuilder(own, CONFIG)
    for day in (DAY, DAY + 5):
        assert (graphs.graph(day).neighbour_NM >= 0).any()
    assert len(caplog.records) == 1


def test_a_folder_without_permissions_costs_one_warning(own: Panel) -> None:
    """In a process without the privileges of root, for which nothing is read-only."""
    script = (
        "import logging, os, sys; from pathlib import Path\n"
        "from gogooku3.config import GraphConfig; from gogooku3.data.panel import Panel\n"
        "from gogooku3.graph import GraphBuilder\n"
        "logging.basicConfig(stream=sys.stdout, format='%(message)s')\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "graphs = GraphBuilder(Panel.open(Path(sys.argv[1])), GraphConfig())\n"
        "print([bool((graphs.graph(day).neighbour_NM >= 0).any()) for day in (120, 125)])\n"
    )
    path = own.header.path
    with tempfile.TemporaryDirectory(prefix="gk3-") as folder:
        Path(folder).chmod(0o755)
        readable = Path(shutil.copy(path, folder))
        readable.chmod(0o644)
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", script, str(readable)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        Path(folder).chmod(0o755)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert "Permission denied" in lines[0]
    assert lines[1] == "[True, True]"


def test_a_write_that_fails_leaves_nothing(
    own: Panel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", refuse)
    GraphBuilder(own, CONFIG).graph(DAY)
    assert len(caplog.records) == 1
    assert [path for path in own.header.path.parent.rglob("*") if path.is_file()] == [
        own.header.path
    ]


def _build_all(path: Path, days: list[int]) -> None:
    torch.set_num_threads(1)
    graphs = GraphBuilder(Panel.open(path), CONFIG)
    for day in days:
        graphs.graph(day)


def test_builders_at_the_same_time_leave_whole_files(
    own: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = list(range(60, 180, 15))
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=_build_all, args=(own.header.path, days)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
        assert other.exitcode == 0
    files = [path for path in own.header.path.parent.rglob("*") if path.is_file()]
    assert len(files) == 1 + len(days)
    built = {day: builder.build_graph(own, CONFIG, day) for day in days}
    forbid_building(monkeypatch)
    graphs = GraphBuilder(own, CONFIG)
    for day in days:
        assert are_same(graphs.graph(day), built[day])


def test_the_number_of_threads_changes_no_bit(own: Panel) -> None:
    before = torch.get_num_threads()
    graphs = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        graphs.append(builder.build_graph(own, CONFIG, DAY))
    torch.set_num_threads(before)
    assert are_same(*graphs)


def test_graphs_are_no_datasets(own: Panel) -> None:
    GraphBuilder(own, CONFIG).graph(DAY)
    assert [header.name for header in list_datasets(own.header.path.parent)] == ["g"]
