"""The measurements, which lie with the benchmarks, as a page of the site."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SOURCE = Path(__file__).resolve().parents[2] / "benchmarks" / "RESULTS.md"
PAGE = "measurements.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page; its links to pages of the site start in another folder."""
    content = SOURCE.read_text(encoding="utf-8").replace("(../docs/", "(")
    files.append(File.generated(config, PAGE, content=content))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Lead the pages' links to it; in the repository they lead to the file."""
    return markdown.replace("(../benchmarks/RESULTS.md", f"({PAGE}")
