"""The pages: one document, files that never change under their address, and a strict policy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api import pages
from gogooku3.config import JobSpec, check

FILES = sorted(path for path in pages.FOLDER.rglob("*") if path.suffix in pages.TYPES)
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


def release(http: httpx.Client) -> str:
    """The folder that the document names."""
    found = re.search(r'src="(/web/[0-9a-f]{16})/main\.js"', http.get("/").text)
    assert found
    return found[1]


@pytest.mark.parametrize("address", pages.ADDRESSES)
def test_every_address_answers_with_the_document(http: httpx.Client, address: str) -> None:
    answer = http.get(re.sub(r"\{\w+\}", "anything", address))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert "{{" not in answer.text
    again = http.get(answer.url.path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_policy_allows_nothing_inline_and_nothing_from_elsewhere(http: httpx.Client) -> None:
    answer = http.get("/")
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<style|<script>|\sstyle=|\son\w+=|https?://", answer.text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_served_for_ever_and_packed(http: httpx.Client, path: Path) -> None:
    address = f"{release(http)}/{path.relative_to(pages.FOLDER)}"
    answer = http.get(address)
    if path.name == pages.SHELL:
        assert answer.status_code == 200
        return
    assert answer.content == path.read_bytes()
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == pages.TYPES[path.suffix]
    packed = http.get(address, headers={"Accept-Encoding": "gzip"})
    assert packed.content == answer.content
    plain = http.get(address, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_charts_come_from_the_package_and_from_nowhere_else(http: httpx.Client) -> None:
    answer = http.get(f"{release(http)}/{pages.PLOTLY}")
    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert b"plotly.js v" in answer.content[:200]


@pytest.mark.parametrize(
    "name", ["main.js/..", "../settings.py", "%2e%2e/main.py", "none.js", "pages/../main.js"]
)
def test_nothing_else_is_served(http: httpx.Client, name: str) -> None:
    found = http.get(f"{release(http)}/{name}")
    assert found.status_code in {200, 404}
    assert found.status_code == 404 or found.content == (pages.FOLDER / "main.js").read_bytes()
    assert http.get("/web/0123456789abcdef/main.js").status_code == 404


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_import_what_exists_and_name_what_it_exports(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, "split it by noun"
    for names, source in re.findall(r'import \{([^}]+)\} from "([^"]+)"', text):
        target = (path.parent / source).resolve()
        assert target in FILES, source
        exported = set(
            re.findall(r"export (?:async )?(?:function\*?|const|class) (\w+)", target.read_text())
        )
        assert {name.strip() for name in names.split(",")} <= exported, (path.name, source)


def test_every_page_that_the_router_names_exists_and_has_an_address() -> None:
    text = (pages.FOLDER / "main.js").read_text()
    routes = re.findall(r'\[(/\^.+?\$/), "(\w+)"\]', text)
    assert len(routes) == len(pages.ADDRESSES)
    for pattern, name in routes:
        assert (pages.FOLDER / "pages" / f"{name}.js").is_file()
        expression = pattern.strip("/").replace(r"\/", "/")
        assert any(re.fullmatch(expression, address) for address in pages.ADDRESSES), pattern


def test_presets_are_valid_specifications(template: dict[str, Any]) -> None:
    presets = json.loads((pages.FOLDER / "presets.json").read_text())
    assert len({one["name"] for one in presets}) == len(presets) >= 4
    for preset in presets:
        spec = preset["spec"]
        data = spec["config"].setdefault("data", {})
        # The page puts dates of the chosen dataset in.
        data["split"] = template["config"]["data"]["split"]
        found, problems = check(JobSpec, {"dataset": "tiny", **spec})
        assert found is not None, (preset["name"], problems)
