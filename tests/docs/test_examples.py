"""The example scripts and the notebook do what they say, on a server that has jobs."""

from __future__ import annotations

import json

import pytest

from tests.docs.conftest import ROOT, Desk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_scripts_submit_watch_and_fetch(desk: Desk, readme: list[str]) -> None:
    def run(command: str) -> str:
        return desk.run("bash", command, GOGOOKU3_URL=f"http://{desk.address}")

    job = json.loads(run("examples/submit.sh"))
    assert json.loads(run("examples/submit.sh"))["id"] == job["id"], "the same file, the same job"
    shown = run("python examples/dashboard.py")
    assert "baseline" in shown
    assert shown.endswith("nothing runs, nothing waits\n")
    polled = run(f"python examples/poll_job.py {job['id']}").splitlines()
    assert polled[-1].startswith("succeeded")
    fetched = run("python examples/fetch_best.py hypothesis:baseline traded.gk3")
    assert fetched.startswith(f"traded.gk3 {job['id']} valid/rank_ic ")


def test_notebook_runs_from_top_to_bottom(desk: Desk, readme: list[str]) -> None:
    cells = json.loads((ROOT / "examples" / "first_look.ipynb").read_text())["cells"]
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code")
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert "code" in desk.run("python", "\n".join([*code[:-1], f"{code[-1]}\nprint(ranking)"]))
