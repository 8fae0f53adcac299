"""The documentation is true: its site builds without a broken link, its command line is the real
one, and what the tutorial tells to type works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.reference import reference

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_site_builds_strictly(tmp_path: Path) -> None:
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--quiet",
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
    assert (tmp_path / "site" / "tutorial" / "index.html").is_file()


def test_command_line_reference_is_what_the_commands_say() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert page == reference(), "run: python -m app.cli.reference > docs/cli.md"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tutorial_works_as_it_is_typed(tmp_path: Path) -> None:
    found = BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text())
    assert [kind for kind, _ in found] == ["bash", "bash", "bash", "python"]
    binaries = Path(sys.executable).parent
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GOGOOKU3_")}
    environment = kept | {"PATH": f"{binaries}:{os.environ['PATH']}"}

    def run(kind: str, block: str) -> str:
        command = ["bash", "-ec", block] if kind == "bash" else [sys.executable, "-c", block]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
            timeout=280,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    run(*found[0])
    up = subprocess.Popen(
        [binaries / "gogooku3", "up", "--port", "0", "--no-spares", "--json"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert up.stdout is not None
        assert "url" in up.stdout.readline()
        for block in found[1:-1]:
            run(*block)
        assert "code" in run(*found[-1])
    finally:
        up.terminate()
        assert up.wait(60) == 0
        if up.stdout:
            up.stdout.close()
