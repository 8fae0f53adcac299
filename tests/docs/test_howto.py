"""What pages tell to type exists: commands with their options, specifications, Python."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer.main
import yaml

from app.cli.main import app
from gogooku3.config import JobSpec, check
from gogooku3.config.source import SourceSpec
from tests.docs.conftest import ROOT, blocks

PAGES = [
    "README.md",
    "examples/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))),
]
TYPED = re.compile(r"(?:^|[$;&(`]\s*)(gogooku3 (?!is up)[^`;|&()#\n]*)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: Path(page).stem)
def test_every_command_of_a_page_exists_with_its_options(page: str) -> None:
    text = (ROOT / page).read_text()
    wrong = [line for line in TYPED.findall(text) if not is_known(line.strip())]
    assert wrong == []


def is_known(line: str) -> bool:
    """Whether the command line has such a command, and the command such options."""
    command: Any = typer.main.get_command(app)
    words = line.split()[1:]
    while words and (below := getattr(command, "commands", None)):
        if words[0].startswith("-"):
            break
        names = words[0].split("|")  # `db backup|restore`
        if not all(name in below for name in names):
            return False
        command = below[names[0]]
        words = words[1:]
    known = {name for one in command.params for name in [*one.opts, *one.secondary_opts]}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return given <= known | {"--help", "--install-completion", "--show-completion"}


def test_specification_of_own_features_is_one() -> None:
    (text,) = [block for kind, block in blocks("docs/howto.md") if kind == "yaml"]
    spec = SourceSpec.model_validate(yaml.safe_load(text))
    assert spec.builtin_features


def test_walk_forward_submits_one_valid_job_for_each_fold() -> None:
    first, second = [block for kind, block in blocks("docs/howto.md") if kind == "python"]
    compile(second, "howto.md", "exec")
    names: dict[str, Any] = {}
    exec(first, names)
    sent: list[dict[str, Any]] = []

    def create(spec: dict[str, Any]) -> SimpleNamespace:
        sent.append(spec)
        return SimpleNamespace(id=f"job_{len(sent)}")

    baseline = json.loads((ROOT / "examples" / "job_baseline.json").read_text())
    client = SimpleNamespace(jobs=SimpleNamespace(create=create))
    assert len(names["submit_folds"](client, baseline)) == 4
    for fold, given in enumerate(sent):
        spec, problems = check(JobSpec, given)
        assert spec is not None, problems
        assert (spec.config.data.split.kind, spec.config.data.split.fold) == ("walk_forward", fold)
