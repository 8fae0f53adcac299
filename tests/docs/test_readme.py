"""README is true: what it tells to type works, what it shows is what is answered."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.docs.conftest import ROOT, Desk, blocks

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_readme_tells_to_type_works(desk: Desk, readme: list[str]) -> None:
    found = blocks("README.md")
    assert [kind for kind, _ in found] == [
        *("bash", "bash", "bash", "bash", "python", "bash"),
        *("bash", "bash", "json", "bash", "json", ""),
    ]
    for target in ("demo", "test"):
        assert f"make {target} " in found[0][1]
        desk.run("bash", f"make --dry-run --directory {ROOT} {target}")
    _, _, watched, ranking, steered, searched, _ = readme
    assert "epoch 3/3" in watched
    assert "code" in ranking
    assert re.search(r"^(running, asked to stop|cancelled)$", steered, re.MULTILINE)
    assert "trial 1 (2/2)  succeeded" in searched
    assert (desk.folder / "jobs.backup").stat().st_size > 1000
    assert len(list(desk.folder.glob("*.gk3"))) >= 3

    refused = json.loads(desk.run(*found[9]))
    shown = json.loads(found[10][1])
    assert (refused["status"], refused["code"]) == (shown["status"], shown["code"])
    said = {one["pointer"]: one["message"] for one in refused["errors"]}
    for one in shown["errors"]:
        assert said.pop(one["pointer"]).startswith(one["message"].removesuffix("..."))
    assert not said, "README shows every fault"


def test_sweep_that_readme_shows_is_the_example() -> None:
    shown = json.loads(blocks("README.md")[8][1])
    example = json.loads((ROOT / "examples" / "sweep_cpu.json").read_text())
    assert is_part(shown, example)


def test_every_link_of_readme_leads_to_a_file() -> None:
    links = LINK.findall((ROOT / "README.md").read_text())
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_tree_of_readme_is_there() -> None:
    missing, above = [], ""
    for line in blocks("README.md")[-1][1].splitlines():
        names = line.strip().split("  ")[0].split()
        if not line.startswith(" "):
            above = names[0]
            missing += [name for name in names if not (ROOT / name).exists()]
        elif line.startswith("  ") and line[2] != " ":
            missing += [name for name in names if not (ROOT / above / name).exists()]
    assert missing == []


def is_part(shown: Any, whole: Any) -> bool:
    """Whether a document says nothing that the whole does not say; `...` stands for the rest."""
    if not isinstance(shown, dict):
        return bool(shown == whole)
    return all(
        name == "..." or (name in whole and is_part(value, whole[name]))
        for name, value in shown.items()
    )
