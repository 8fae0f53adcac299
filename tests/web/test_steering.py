"""Jobs and sweeps steered from the pages of a server that wants a key.

The worker is a real one; its trainer only computes a formula, so that a run takes no time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from app.db import Database
from app.domain import Scope
from app.jobs import keys
from app.settings import Settings
from app.sweeps.searches import Searches
from tests.api.conftest import served
from tests.sweeps.conftest import BASE, SPACE, Field, dataset
from tests.web.conftest import WIDE, Watched, wait_until_drawn
from tests.web.test_pages import serious

__all__ = ["dataset"]

pytestmark = pytest.mark.slow
LONG = 10_000
"""Epochs that no test waits for."""


@dataclass
class Closed:
    """A server that wants a key, with one slot."""

    url: str
    key: str
    http: httpx.Client

    def submit(self, name: str, *, epochs: int, lr: float = 1e-3) -> str:
        config = {**BASE, "max_epochs": epochs, "optimizer": {"lr": lr}}
        spec = {"name": name, "dataset": "tiny", "config": config}
        return str(self._ask("POST", "/v1/jobs", json=spec)["id"])

    def waiting(self) -> list[str]:
        """The names in the queue, the next one first; those that are paused last."""
        return [item["name"] for item in self._ask("GET", "/v1/queue")["items"]]

    def wait_for(self, path: str, *states: str) -> dict[str, Any]:
        deadline = time.monotonic() + 120
        while (found := self._ask("GET", path))["state"] not in states:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def cancel_all(self) -> None:
        for job in self._ask("GET", "/v1/jobs?state=queued&state=running&state=paused")["items"]:
            self._ask("POST", f"/v1/jobs/{job['id']}/cancel?force=true")

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        answer = self.http.request(method, path, **more)
        assert answer.is_success, answer.text
        return dict(answer.json())


@pytest.fixture(scope="module")
def closed(
    tmp_path_factory: pytest.TempPathFactory, dataset: Path, database_url: str, redis_url: str
) -> Iterator[Closed]:
    """The server, with a dataset and a worker."""
    home = tmp_path_factory.mktemp("closed")
    (home / "caches").mkdir()
    (home / "caches" / "tiny.arrow").hardlink_to(dataset)
    settings = Settings(home=home, database_url=None, redis_url=None)
    database = Database(database_url, pool_size=5)
    with database.session() as session:
        _, secret = keys.create(session, "browser", Scope.ADMIN)
    field = Field(home, database, Searches(database), redis_url)
    field.start_worker(epoch_s=0.02, fail_lr_above=0.05)
    try:
        with (
            served(settings, database_url, redis_url, open_access=False) as running,
            httpx.Client(
                base_url=running.url,
                headers={"Authorization": f"Bearer {secret}"},
                trust_env=False,
                timeout=30,
            ) as http,
        ):
            yield Closed(running.url, secret, http)
    finally:
        field.close()
        field.searches.close()
        database.dispose()


@pytest.fixture
def watched(browser: Browser, closed: Closed) -> Iterator[Watched]:
    """A fresh window that has the key already."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    context.add_init_script(f"sessionStorage.setItem('gogooku3.key', '{closed.key}')")
    one = Watched(context, closed.url)
    yield one
    context.close()
    # The formula's trainer leaves no daily series: the pages do not ask for what is not there.
    assert not one.faults


def test_key_opens_the_pages_of_this_tab_until_it_is_forgotten(
    browser: Browser, closed: Closed
) -> None:
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    one = Watched(context, closed.url)
    page = one.go("/queue")
    field = page.get_by_label("API key", exact=True)
    expect(field).to_be_focused()
    assert serious(page, "sign in") == []
    field.fill("gk_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("does not know this key")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill(closed.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("h1")).to_have_text("Queue")
    expect(one.go("/").locator("h1")).to_have_text("Jobs")
    expect(page.locator(".live")).to_have_text("live")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("h1")).to_have_text("Sign in with an API key")
    # Each 401 is noted by the browser; nothing else may have been.
    assert [fault for fault in one.faults if "401" not in fault] == []
    context.close()


def test_queue_is_put_in_another_order_and_jobs_put_aside(closed: Closed, watched: Watched) -> None:
    running = closed.submit("runs", epochs=LONG)
    closed.wait_for(f"/v1/jobs/{running}", "running")
    ids = {name: closed.submit(name, epochs=LONG) for name in ("first", "second", "third")}
    page = watched.go("/queue")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3)
    page.get_by_role("button", name="Earlier: third").click()
    expect_order(rows, "first", "third", "second")
    page.get_by_role("button", name="To the front: second").click()
    expect_order(rows, "second", "first", "third")
    page.get_by_role("button", name="Later: second").click()
    expect_order(rows, "first", "second", "third")
    assert closed.waiting() == ["first", "second", "third"]
    expect(rows.first).to_contain_text("slot")

    # Put aside on its own page, taken back on the page of the queue.
    page = watched.go(f"/jobs/{ids['first']}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".head .badge")).to_have_text("paused")
    page = watched.go("/queue")
    expect_order(rows, "second", "third", "first")
    rows.last.get_by_role("button", name="Resume").click()
    expect_order(rows, "first", "second", "third")

    # One that runs frees its slot when it is put aside, and goes on where it stopped.
    page = watched.go(f"/jobs/{running}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".head .badge").first).to_have_text("paused", timeout=30_000)
    closed.wait_for(f"/v1/jobs/{ids['first']}", "running")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".head .badge").first).to_have_text("queued")
    assert closed.waiting()[0] == "runs", "back at its old place"
    closed.cancel_all()


def test_failed_job_says_why_and_is_tried_again(closed: Closed, watched: Watched) -> None:
    job = closed.submit("too fast", epochs=2, lr=0.09)
    closed.wait_for(f"/v1/jobs/{job}", "failed")
    page = watched.go(f"/jobs/{job}")
    expect(page.get_by_role("alert").first).to_contain_text("too fast")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("attempt 2")).to_be_visible(timeout=30_000)
    closed.wait_for(f"/v1/jobs/{job}", "failed")
    page.get_by_role("tab", name="Attempts").click()
    expect(page.get_by_role("tabpanel").locator("tbody tr")).to_have_count(2)


def test_sweep_is_sorted_filtered_drawn_and_extended(
    closed: Closed, watched: Watched, browser: Browser
) -> None:
    made = closed.http.post(
        "/v1/sweeps",
        json={
            "name": "the search",
            "dataset": "tiny",
            "config": BASE,
            "search_space": {**SPACE, "optimizer.kind": {"choice": ["adamw", "adabelief"]}},
            "enqueue": [{"optimizer.lr": 0.09}, {"optimizer.lr": 1e-3, "model.dropout": 0.2}],
            "n_trials": 8,
            "sampler": {"kind": "random", "seed": 1},
        },
    ).json()
    path = f"/v1/sweeps/{made['id']}"
    closed.wait_for(path, "succeeded")
    items = closed.http.get(f"{path}/trials").json()["items"]
    values = {one["number"]: one["value"] for one in items}
    ended = {number: value for number, value in values.items() if value is not None}
    assert values[0] is None, "the one that failed"
    best_first = sorted(ended, key=lambda number: -ended[number])

    page = watched.go("/sweeps")
    page.get_by_role("link", name="the search").click()
    expect(page.locator("h1")).to_have_text("the search")
    rows = page.locator("table[aria-label=Trials] tr.row")
    expect(rows).to_have_count(8)
    assert numbers(rows) == [*best_first, 0], "the best first, what has no value last"
    page.get_by_role("button", name="Value").click()
    assert numbers(rows) == [*reversed(best_first), 0]
    page.get_by_role("button", name="Trial", exact=True).click()
    assert numbers(rows) == list(range(8))
    page.get_by_role("combobox", name="State").select_option("failed")
    expect(page.get_by_text("1 of 8 trials")).to_be_visible()
    page.get_by_role("combobox", name="State").select_option("Every state")
    page.get_by_role("searchbox", name="Find trials").fill("adabelief")
    chosen = [one["number"] for one in items if one["params"]["optimizer.kind"] == "adabelief"]
    expect(page.get_by_text(f"{len(chosen)} of 8 trials")).to_be_visible()
    assert numbers(rows) == sorted(chosen)
    page.get_by_role("searchbox", name="Find trials").fill("")

    # History, importances, a slice for each parameter; the lines of the parallel coordinates.
    wait_until_drawn(page, 5)
    drawn = "figure:has-text('Optimisation history') .js-plotly-plot"
    assert page.locator(drawn).evaluate("node => node.data[0].y.length") == len(ended)
    lines = page.locator("svg.parallel path.line")
    expect(lines).to_have_count(len(ended))
    honest = page.get_by_role("region", name="The best trial, honestly")
    expect(honest).to_contain_text(f"Trial {best_first[0]}")
    # Worked out by the worker after the last trial: it comes without a reload.
    expect(honest).to_contain_text(f"{len(ended)} trials", timeout=30_000)
    brush(page, page.locator("svg.parallel .grip").last)
    expect(page.get_by_text(re.compile(r"^[1-7] of 8 trials$"))).to_be_visible()
    assert serious(page, "/sweeps/{id}") == []

    page.get_by_role("button", name="Extend").click()
    page.get_by_label("Trials in all").fill("9")
    page.get_by_role("dialog").get_by_role("button", name="Extend").click()
    expect(page.get_by_text("of 9 trials").first).to_be_visible(timeout=30_000)
    closed.wait_for(path, "succeeded")

    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    phone.add_init_script(f"sessionStorage.setItem('gogooku3.key', '{closed.key}')")
    small = Watched(phone, closed.url)
    for address in (f"/sweeps/{made['id']}", "/sweeps"):
        small.go(address)
        wide = small.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, address
    phone.close()


def test_sweep_that_is_ending_offers_only_what_can_still_be_done(
    closed: Closed, watched: Watched
) -> None:
    config = {**BASE, "max_epochs": LONG}
    made = closed.http.post(
        "/v1/sweeps",
        json={
            "name": "to be ended",
            "dataset": "tiny",
            "config": config,
            "search_space": SPACE,
            "enqueue": [{"optimizer.lr": 1e-3}],
            "n_trials": 3,
            "max_parallel": 1,
        },
    ).json()
    path = f"/v1/sweeps/{made['id']}"
    deadline = time.monotonic() + 60
    while not closed.http.get(path).json()["counts"].get("running"):
        assert time.monotonic() < deadline, "no trial runs"
        time.sleep(0.1)
    page = watched.go(f"/sweeps/{made['id']}")
    actions = page.get_by_role("group", name="Actions").get_by_role("button")
    expect(actions).to_have_text(["Pause", "Extend", "Cancel"])

    # Asked to end with what runs: no more trials, but the one that runs can be stopped after all.
    assert closed.http.post(f"{path}/cancel", params={"running": "finish"}).is_success
    expect(page.locator(".head .badge")).to_have_text("running, stopping", timeout=30_000)
    expect(actions).to_have_text(["Stop its runs"])
    page.get_by_role("button", name="Stop its runs").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the sweep").click()
    expect(actions).to_have_count(0)
    expect(page.locator(".head .badge")).to_have_text("cancelled", timeout=30_000)
    expect(actions).to_have_count(0)


def expect_order(rows: Locator, *names: str) -> None:
    """The rows are these jobs, in this order."""
    expect(rows.locator(".name a")).to_have_text(list(names))


def numbers(rows: Locator) -> list[int]:
    """The trials' numbers from top to bottom."""
    return [int(text) for text in rows.locator("> :first-child").all_inner_texts()]


def brush(page: Page, grip: Locator) -> None:
    """Drag along the upper half of an axis."""
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
