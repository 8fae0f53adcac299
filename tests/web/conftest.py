"""A real browser on a real stack; skipped, saying so, where no Chromium is installed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.e2e.conftest import market, spec, split, stack

__all__ = ["market", "spec", "split", "stack"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = {"width": 1360, "height": 900}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium under Playwright, with a profile of its own."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed (apt install chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield launched
        launched.close()


class Watched:
    """A page, and everything that went wrong in it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.faults: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text}")

    def go(self, path: str) -> Page:
        """Open a page and wait until its first content is there."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector("main h1")
        return self.page


@pytest.fixture
def watched(browser: Browser, stack: Any) -> Iterator[Watched]:
    """A fresh window on the stack; its scripts must not have complained by the end."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    one = Watched(context, stack.url)
    yield one
    context.close()
    assert not one.faults


def wait_until_drawn(page: Page, charts: int = 1) -> None:
    """Until plotly.js has drawn at least so many charts."""
    page.locator(".js-plotly-plot:has(.main-svg)").nth(charts - 1).wait_for()


def wait_until(page: Page, expression: str, timeout_s: float = 60) -> None:
    """Until a JavaScript expression holds: the pages' policy forbids Playwright's own waiting."""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never so: {expression}"
        page.wait_for_timeout(100)


@pytest.fixture(scope="session")
def finished(stack: Any, split: dict[str, Any], spec_of: Any) -> dict[str, Any]:
    """A job that has run to its end."""
    job = stack.submit(spec_of("finished", epochs=2))
    ended: dict[str, Any] = stack.wait_for(job["id"], "succeeded", "failed")
    assert ended["state"] == "succeeded", ended["reason"]
    return ended


@pytest.fixture(scope="session")
def spec_of(split: dict[str, Any]) -> Any:
    """`spec_of(name, epochs=...)`: a small job on `tiny`."""

    def make(name: str, *, epochs: int, kind: str = "atft_gat_fan") -> dict[str, Any]:
        model: dict[str, Any] = {"kind": kind}
        if kind == "atft_gat_fan":
            model |= {"hidden_size": 16, "gat": {"layers": 1}, "graph": {"window": 20}}
        return {
            "name": name,
            "dataset": "tiny",
            "labels": {"made_by": "browser"},
            "config": {
                "max_epochs": epochs,
                "data": {"lookback": 10, "horizons": [1, 5], "split": split},
                "model": model,
                "batch": {"days_per_step": 8},
            },
            "resources": {"cpu_threads": 1},
        }

    return make
