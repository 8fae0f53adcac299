"""The documentation is true: its site builds without a broken link, its command line is the real
one, and what the tutorial tells to type works."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.reference import reference
from tests.docs.conftest import ROOT, Desk, blocks


def test_site_builds_strictly(tmp_path: Path) -> None:
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--config-file",
            "docs/site/mkdocs.yml",
            "--site-dir",
            str(tmp_path / "site"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stdout + built.stderr
    assert (tmp_path / "site" / "tutorial" / "index.html").is_file()
    linked = (tmp_path / "site" / "performance" / "index.html").read_text()
    assert 'href="../measurements/' in linked
    assert "The pages, with many jobs" in (
        tmp_path / "site" / "measurements" / "index.html"
    ).read_text(encoding="utf-8")


def test_every_picture_is_shown_and_can_be_taken_again() -> None:
    docs = ROOT / "docs"
    pages = [ROOT / "README.md", *docs.glob("*.md")]
    shown = {
        name for page in pages for name in re.findall(r"img/([\w-]+\.\w+)\)", page.read_text())
    }
    assert shown == {path.name for path in (docs / "img").iterdir()}
    taken = ast.parse((docs / "pictures.py").read_text())
    (names,) = [
        ast.literal_eval(node.value)
        for node in taken.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHOWN"
    ]
    assert {f"{name}.png" for name in names} == {name for name in shown if name.endswith(".png")}


def test_command_line_reference_is_what_the_commands_say() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert page == reference(), "run: python -m app.cli.reference > docs/cli.md"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tutorial_works_as_it_is_typed(desk: Desk) -> None:
    found = [block for block in blocks("docs/tutorial.md") if block[0] != "console"]
    assert [kind for kind, _ in found] == ["bash", "bash", "bash", "python"]
    answers = [desk.run(*block) for block in found]
    assert "code" in answers[-1]
