"""A place to type what the documentation tells to type: a folder, a shell, a running server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = re.compile(r"(localhost|127\.0\.0\.1):8642")
ID = re.compile(r"\b(job|swp)_[0-9a-z]{26}\b")
NOT_TYPED = frozenset(
    {
        "make install && . .venv/bin/activate",  # the tests run in it
        "gogooku3 up &",  # and against it
        "gogooku3 data synth demo",  # the sweep that is cut down does with the small market
    }
)
PLACEHOLDERS = {"job": "JOB_ID", "swp": "SWEEP_ID"}


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and text of every fenced block of a page, from the top."""
    return FENCE.findall((ROOT / page).read_text())


@dataclass
class Desk:
    """A folder in which a server runs, and in which blocks are run as they stand on a page.

    Two things are put in: the server's real address, and ids where a page says JOB_ID or SWEEP_ID.
    """

    folder: Path
    environment: dict[str, str]
    address: str = ""
    ids: dict[str, str] = field(default_factory=dict)

    def run(self, kind: str, block: str, **variables: str) -> str:
        """Run a bash or Python block, with more variables in its environment; its output."""
        lines = block.splitlines()
        kept = "\n".join(
            line for line in lines if line.partition("  #")[0].strip() not in NOT_TYPED
        )
        text = ADDRESS.sub(self.address, kept)
        for name, found in self.ids.items():
            text = text.replace(PLACEHOLDERS[name], found)
        assert not any(name in text for name in PLACEHOLDERS.values()), text
        command = ["bash", "-ec", text] if kind == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        for match in ID.finditer(done.stdout + done.stderr):
            self.ids.setdefault(match[1], match[0])
        return done.stdout


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server in a folder that has the examples; the sweep among them is cut down to seconds."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "examples", folder / "examples")
    shorten(folder / "examples" / "sweep_cpu.json", n_trials=2, pruner={"kind": "none"})
    shorten(folder / "examples" / "job_baseline.json")
    binaries = Path(sys.executable).parent
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GOGOOKU3_")}
    environment = kept | {"PATH": f"{binaries}:{os.environ['PATH']}"}
    up = subprocess.Popen(
        [binaries / "gogooku3", "up", "--port", "0", "--no-spares", "--json"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert up.stdout is not None
        url = json.loads(up.stdout.readline())["url"]
        yield Desk(folder, environment, urlsplit(url).netloc)
    finally:
        up.terminate()
        assert up.wait(60) == 0
        if up.stdout:
            up.stdout.close()


@pytest.fixture(scope="session")
def readme(desk: Desk) -> list[str]:
    """Everything that README tells to type has been typed, but for `make`; what was answered."""
    desk.ids.clear()  # of another page that was typed before
    return [desk.run(kind, block) for kind, block in blocks("README.md")[1:8]]


def shorten(example: Path, **changes: Any) -> None:
    """One epoch on the small market that README makes, instead of an afternoon."""
    spec = json.loads(example.read_text()) | {"dataset": "tiny"} | changes
    spec["config"]["max_epochs"] = 1
    spec["config"]["data"]["split"] = {
        "train_start": "2018-08-01",
        "train_end": "2018-11-30",
        "valid_end": "2019-03-29",
    }
    example.write_text(json.dumps(spec))
