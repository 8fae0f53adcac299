"""No name leads out of the data root."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import InvalidSpecError
from app.jobs.check import check_build
from app.jobs.sources import SourcePathError, find_source
from gogooku3.config import Problem


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "jp").mkdir(parents=True)
    (root / "jp" / "bars.parquet").touch()
    (tmp_path / "secret.parquet").touch()
    return root


def test_found(root: Path) -> None:
    assert find_source(root, "jp/bars.parquet") == (root / "jp" / "bars.parquet").resolve()
    link = root.parent / "link"
    link.symlink_to(root)
    assert find_source(link, "jp/bars.parquet") == (root / "jp" / "bars.parquet").resolve()
    (root / "inside.parquet").symlink_to("jp/bars.parquet")
    assert find_source(root, "inside.parquet").name == "bars.parquet"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.parquet",
        "jp/../../secret.parquet",
        "/etc/passwd",
        "..",
        ".",
        "",
        "jp\\..\\secret.parquet",
        "jp/bars.parquet\x00",
        "a" * 300 + ".parquet",
        "empty",
        "linked",
        "jp/bars.parquet/x",
        "out.parquet",
        "folder/secret.parquet",
        "loop.parquet",
        "pipe.parquet",
        "notes.txt",
    ],
)
def test_refused(root: Path, name: str) -> None:
    (root / "out.parquet").symlink_to(root.parent / "secret.parquet")
    (root / "folder").symlink_to(root.parent)
    (root / "loop.parquet").symlink_to("loop.parquet")
    (root / "notes.txt").touch()
    (root / "empty").mkdir()
    (root / "linked").mkdir()
    (root / "linked" / "a.parquet").symlink_to(root.parent / "secret.parquet")
    os.mkfifo(root / "pipe.parquet")
    with pytest.raises(SourcePathError) as raised:
        find_source(root, name)
    assert str(root) not in str(raised.value)


def test_a_folder_of_tables_is_a_source(root: Path) -> None:
    assert find_source(root, "jp") == (root / "jp").resolve()


def test_hints(root: Path) -> None:
    with pytest.raises(SourcePathError, match=r"did you mean 'jp/bars\.parquet'"):
        find_source(root, "jp/bar.parquet")
    with pytest.raises(SourcePathError, match=r"there are: jp/bars\.parquet"):
        find_source(root, "zzzz")
    with pytest.raises(SourcePathError, match="which is empty"):
        find_source(root / "none", "bars.csv")


def test_every_problem_of_a_build_is_named_at_once(root: Path) -> None:
    given = {
        "name": "../jp",
        "source": {"kind": "file", "path": "bars.parquet", "sheet": 1},
        "horizons": [5, 1],
        "top": 2,
        "normalization": "rank",
    }
    with pytest.raises(InvalidSpecError) as raised:
        check_build(given, root)
    found = {problem.pointer: problem for problem in raised.value.problems}
    assert set(found) == {"/name", "/source/sheet", "/horizons", "/top", "/normalization"}
    assert "normalisation" in found["/normalization"].message
    del given["source"]["sheet"]  # type: ignore[attr-defined]
    with pytest.raises(InvalidSpecError) as raised:
        check_build(given, root)
    assert "/source/path" in {problem.pointer for problem in raised.value.problems}


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.csv", "", 7, "a\\b.csv"])
def test_paths_that_lead_elsewhere_are_problems_of_the_path(root: Path, path: object) -> None:
    with pytest.raises(InvalidSpecError) as raised:
        check_build({"name": "x", "source": {"kind": "file", "path": path}}, root)
    assert [problem.pointer for problem in raised.value.problems] == ["/source/path"]


NAMES = st.text(st.sampled_from("ab./\\\x00~\ud800é *$"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("name", "source", "horizons", "top", "normalisation", "labels", "resources", "limits")
SOURCES = st.fixed_dictionaries(
    {"kind": st.sampled_from(["file", "synth", "web"]) | JSON},
    optional={"path": NAMES | JSON, "stocks": JSON, "spec": JSON},
)
BODIES = JSON | st.dictionaries(st.sampled_from(FIELDS), JSON | SOURCES, max_size=6)


@settings(max_examples=150, deadline=None)
@given(given=BODIES)
def test_whatever_is_sent_is_valid_or_has_a_problem_with_a_place(given: object) -> None:
    with tempfile.TemporaryDirectory() as root:
        problems: list[Problem] = []
        try:
            check_build(given, Path(root))
        except InvalidSpecError as error:
            problems = error.problems
            refused = True
        else:
            refused = False
    assert bool(problems) == refused
    assert all(problem.message and problem.code for problem in problems)


@pytest.mark.parametrize(
    ("source", "pointer"),
    [
        ({"kind": "web"}, "/source/kind"),
        ({"kind": "synth", "stocks": 1}, "/source/stocks"),
        ({}, "/source"),
        (None, "/source"),
    ],
)
def test_sources_of_no_kind(root: Path, source: object, pointer: str) -> None:
    with pytest.raises(InvalidSpecError) as raised:
        check_build({"name": "x", "source": source}, root)
    assert pointer in {problem.pointer for problem in raised.value.problems}
