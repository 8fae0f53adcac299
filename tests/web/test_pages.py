"""The pages as people use them: watched, clicked, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from app.api.pages import ADDRESSES
from tests.web.conftest import Watched, wait_until, wait_until_drawn
from worker.log import cut

pytestmark = pytest.mark.slow
SERIOUS = {"serious", "critical"}


def test_log_goes_on_after_its_beginning_was_dropped(
    watched: Watched, stack: Any, spec_of: Any
) -> None:
    job = stack.submit(spec_of("talks a lot", epochs=400))
    page = watched.go(f"/jobs/{job['id']}")
    shown = page.locator("pre.log")
    expect(shown).to_contain_text("epoch 1 in", timeout=60_000)
    log = stack.home / "artifacts" / job["id"] / "log.txt"
    for written in ("a line of many\n" * 10_000 + "the last of them\n", "and on\n"):
        with log.open("a") as file:
            file.write(written)
        expect(shown).to_contain_text(written.splitlines()[-1], timeout=60_000)
        cut(log, longest=100_000, kept=1_000)
    expect(shown).to_contain_text("bytes of this log were dropped")
    httpx.post(f"{stack.url}/v1/jobs/{job['id']}/cancel?force=true", timeout=30)
    assert stack.wait_for(job["id"], "cancelled")["state"] == "cancelled"


def test_training_is_watched_live_and_cancelled_by_the_button(
    watched: Watched, stack: Any, spec_of: Any
) -> None:
    job = stack.submit(spec_of("watched live", epochs=400))
    page = watched.go(f"/jobs/{job['id']}")
    page.evaluate("window.isSamePage = true")
    expect(page.locator("h1")).to_have_text("watched live")
    # Epochs arrive by themselves: the curves are drawn, the log grows, the page is never loaded.
    wait_until_drawn(page, 4)
    expect(page.locator(".badge.running").first).to_be_visible()
    expect(page.locator(".live")).to_have_text("live")
    expect(page.locator("pre.log")).to_contain_text("epoch 1 in")
    steps = "document.querySelector('.chart .js-plotly-plot').data[0].x.length"
    drawn = page.evaluate(steps)
    wait_until(page, f"{steps} > {drawn}")
    assert page.evaluate("window.isSamePage")

    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".head .badge.cancelled")).to_be_visible(timeout=60_000)
    assert stack.wait_for(job["id"], "cancelled")["state"] == "cancelled"
    # What it learnt is kept: the button that tries again is there, the checkpoints can be fetched.
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    page.get_by_role("tab", name="Checkpoints").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).first.click()
    assert download.value.suggested_filename.startswith(job["id"])
    assert download.value.path().stat().st_size > 1000


def test_overview_shows_a_new_job_without_being_asked(
    watched: Watched, stack: Any, finished: dict[str, Any], spec_of: Any
) -> None:
    page = watched.go("/")
    row = page.locator("tr.row", has_text=finished["id"])
    expect(row.locator(".badge")).to_have_text("succeeded")
    expect(row.locator("svg.spark")).to_be_visible()
    best = finished["best"]["metrics"]["valid/rank_ic"]
    expect(row).to_contain_text(f"{abs(best):.4f}")
    made = stack.submit(spec_of("came later", epochs=1, kind="linear"))
    expect(page.locator("tr.row", has_text=made["id"])).to_be_visible(timeout=30_000)
    expect(page.get_by_text("slot busy").or_(page.get_by_text("slots busy"))).to_be_visible()
    page.get_by_role("searchbox", name="Find jobs").fill("finished")
    expect(page.locator("tr.row", has_text=made["id"])).to_have_count(0)
    expect(row).to_be_visible()
    page.get_by_role("combobox", name="State").select_option("failed")
    expect(page.get_by_text("No job fits")).to_be_visible()
    stack.wait_for(made["id"], "succeeded", "failed")


def test_figures_on_the_page_are_the_figures_of_the_api(
    watched: Watched, stack: Any, finished: dict[str, Any]
) -> None:
    page = watched.go(f"/jobs/{finished['id']}")
    best = finished["best"]
    figures = page.locator(".figures")
    expect(figures).to_contain_text(f"{abs(best['metrics']['valid/rank_ic']):.4f}")
    expect(figures).to_contain_text(f"{abs(best['metrics']['valid/sharpe']):.2f}")
    # The interval is that of the first horizon, and stands beside its value.
    first = [
        f"{abs(best['metrics'][f'valid/rank_ic{end}@1']):.3f}" for end in ("", "_low", "_high")
    ]
    expect(figures).to_contain_text(re.compile(r"at 1 d .{}.*\(.{} to .{}\)".format(*first)))
    wait_until_drawn(page, 6)
    answer = httpx.get(f"{stack.url}/v1/jobs/{finished['id']}/daily?names=rank_ic").json()
    values = next(one["values"] for one in answer["series"] if one["name"] == "rank_ic@1")
    chart = page.locator("figure", has_text="Rank IC by day").locator(".js-plotly-plot")
    # A chart's buttons are there when it is pointed at, without boxes of the browser's own.
    tools = chart.locator(".modebar")
    expect(tools).to_have_css("opacity", "0")
    chart.hover()
    expect(tools).to_have_css("opacity", "1")
    expect(tools.locator("button").first).to_have_css("border-top-width", "0px")
    expect(tools.locator(".modebar-group").first).to_have_css(
        "background-color", "rgba(0, 0, 0, 0)"
    )
    expect(chart).to_be_visible()
    assert chart.evaluate("node => Array.from(node.data[0].y)") == values
    page.get_by_role("tab", name="Configuration").click()
    page.get_by_role("searchbox", name="Find a key").fill("gat.heads")
    row = page.locator("tr", has_text="model.gat.heads")
    expect(row).to_contain_text("[8]")
    expect(row).to_contain_text("derived")
    # Arrows move between tabs, as in every set of tabs.
    page.get_by_role("tab", name="Configuration").press("ArrowRight")
    expect(page.get_by_role("tab", name="Checkpoints")).to_be_focused()


def test_form_is_checked_while_it_is_written_and_submits(
    watched: Watched, stack: Any, split: dict[str, Any]
) -> None:
    page = watched.go("/submit?dataset=tiny")
    page.get_by_label("Start from").select_option("Quick look")
    expect(page.get_by_text("Ready to submit")).to_be_visible()
    lookback = page.get_by_label("lookback", exact=True)
    lookback.fill("1")
    field = page.locator('.field[data-pointer="/config/data/lookback"]')
    expect(field.locator(".fault[data-made]")).to_be_visible()
    expect(lookback).to_have_attribute("aria-invalid", "true")
    send = page.get_by_role("button", name="Submit", exact=True)
    expect(send).to_be_disabled()
    watched.faults.clear()  # the browser notes each 422 that the checking is for
    lookback.fill("10")
    page.get_by_label("Name", exact=True).fill("from the form")
    page.get_by_label("train_end").fill(split["train_end"])
    page.get_by_label("valid_end").fill(split["valid_end"])
    expect(page.get_by_text("Ready to submit")).to_be_visible()
    expect(page.locator("#json")).to_have_value(re.compile('"name": "from the form"'))
    send.click()
    page.wait_for_url("**/jobs/job_*")
    job = stack.job(page.url.rsplit("/", 1)[-1])
    assert job["name"] == "from the form"
    assert job["config"]["data"]["lookback"] == 10
    assert job["config_sources"]["data.lookback"] == "request"
    assert job["config_sources"]["data.target"] == "default"
    httpx.post(f"{stack.url}/v1/jobs/{job['id']}/cancel?force=true")


def test_form_has_the_fields_that_the_schema_has(watched: Watched, stack: Any) -> None:
    schemas = httpx.get(f"{stack.url}/openapi.json").json()["components"]["schemas"]
    page = watched.go("/submit?dataset=tiny")
    expect(page.get_by_label("Dataset", exact=True)).to_have_value("tiny")
    expect(page.get_by_text("Ready to submit")).to_be_visible()

    def kind_of(path: str) -> Locator:
        return page.locator(f'.field[data-pointer="{path}/kind"] select')

    def fields_of(path: str) -> set[str]:
        found = page.locator(f'[data-pointer^="{path}/"]').evaluate_all(
            "all => all.map((one) => one.dataset.pointer)"
        )
        return {one.removeprefix(f"{path}/").partition("/")[0] for one in found}

    # The fields of a model are those of its schema; what was set for the other model is gone.
    for kind, schema in (("lstm", "LstmConfig"), ("linear", "LinearConfig")):
        kind_of("/config/model").select_option(kind)
        assert fields_of("/config/model") == set(schemas[schema]["properties"])
        expect(page.locator("#json")).to_have_value(re.compile(rf'"kind": "{kind}"'))
        expect(page.locator("#json")).not_to_have_value(re.compile("hidden_size"))
        expect(page.get_by_text("Ready to submit")).to_be_visible()

    # Another preset brings its own values, and what the server makes of them is shown.
    page.get_by_label("Start from").select_option("AdaBelief, cosine restarts")
    expect(kind_of("/config/optimizer")).to_have_value("adabelief")
    effective = page.get_by_role("region", name="Effective configuration")
    expect(effective).to_contain_text("scheduler.eta_min")

    # What is typed as JSON is in the fields; what is not JSON is said and cannot be sent.
    code = page.locator("#json")
    spec = json.loads(code.input_value())
    spec["config"]["optimizer"] = {"kind": "lion", "lr": 0.0004}
    code.fill(json.dumps(spec))
    expect(kind_of("/config/optimizer")).to_have_value("lion")
    expect(page.locator('.field[data-pointer="/config/optimizer/lr"] input')).to_have_value(
        "0.0004"
    )
    expect(effective).to_contain_text("lion")
    code.fill("{")
    expect(page.get_by_text("Not JSON yet")).to_be_visible()
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_disabled()


def test_clone_begins_from_the_job_it_is_of(
    watched: Watched, stack: Any, finished: dict[str, Any]
) -> None:
    page = watched.go(f"/jobs/{finished['id']}")
    page.get_by_role("button", name="Clone").click()
    page.get_by_label("Configuration: only what differs").fill('{"max_epochs": 1, "seed": 5}')
    page.get_by_role("button", name="Submit the clone").click()
    page.wait_for_url(lambda url: finished["id"] not in url)
    job = stack.job(page.url.rsplit("/", 1)[-1])
    assert job["parent_id"] == finished["id"]
    assert (job["config"]["seed"], job["config"]["max_epochs"]) == (5, 1)
    httpx.post(f"{stack.url}/v1/jobs/{job['id']}/cancel?force=true")


def test_comparison_says_what_differs(
    watched: Watched, stack: Any, finished: dict[str, Any], spec_of: Any
) -> None:
    other = stack.submit(spec_of("the floor", epochs=1, kind="linear"))
    stack.wait_for(other["id"], "succeeded")
    page = watched.go("/")
    for job in (finished, other):
        page.locator("tr.row", has_text=job["id"]).get_by_role("checkbox").check()
    page.get_by_role("link", name="Compare 2").click()
    expect(page.locator("h1")).to_have_text("2 jobs compared")
    differing = page.get_by_role("region", name="What differs").last
    expect(differing.locator("tr", has_text="model.kind")).to_contain_text("linear")
    expect(differing.locator("tr", has_text="data.lookback")).to_have_count(0)
    wait_until_drawn(page, 2)
    expect(page.get_by_text("Not a fair comparison")).to_have_count(0)

    # The better figure of each row is marked, and the curves are the jobs' own.
    ended = stack.job(other["id"])
    values = [one["best"]["metrics"]["valid/rank_ic"] for one in (finished, ended)]
    row = page.get_by_role("region", name="Best epochs").last.locator(
        "tr", has=page.get_by_text("valid/rank_ic", exact=True)
    )
    expect(row.locator(".winner")).to_have_text(re.compile(f"{abs(max(values)):.4f}$"))
    chart = page.locator("figure", has=page.get_by_role("heading", name="Rank IC", exact=True))
    lengths = "node => node.data.map((one) => one.x.length)"
    assert sorted(chart.locator(".js-plotly-plot").evaluate(lengths)) == [1, 2]

    # The command line says the same.
    told = json.loads(stack.run("compare", finished["id"], other["id"], "--json").stdout)
    kinds = next(one["values"] for one in told["differs_in"] if one["path"] == "model.kind")
    assert kinds == ["atft_gat_fan", "linear"]
    assert [one["best"]["metrics"]["valid/rank_ic"] for one in told["jobs"]] == values
    assert told["doubts"] == []


def test_comparison_is_chosen_from_a_list_and_warns_of_other_days(
    watched: Watched, stack: Any, finished: dict[str, Any], spec_of: Any, split: dict[str, Any]
) -> None:
    spec = spec_of("other days", epochs=1, kind="linear")
    spec["config"]["data"]["split"] = split | {"embargo_days": 3}
    other = stack.submit(spec)
    page = watched.go("/compare")
    go = page.get_by_role("button", name="Compare")
    expect(go).to_be_disabled()
    for job in (finished, other):
        page.locator("tr", has_text=job["id"]).get_by_role("checkbox").check()
    go.click()
    expect(page.locator("h1")).to_have_text("2 jobs compared")
    expect(page.get_by_text("Not a fair comparison")).to_be_visible()
    expect(page.get_by_text("different splits")).to_be_visible()
    assert stack.wait_for(other["id"], "succeeded", "failed")["state"] == "succeeded"


def test_dataset_page_counts_what_the_dataset_holds(watched: Watched, stack: Any) -> None:
    dataset = httpx.get(f"{stack.url}/v1/datasets/tiny").json()
    days = httpx.get(f"{stack.url}/v1/datasets/tiny/coverage").json()
    page = watched.go("/datasets")
    page.get_by_role("link", name="tiny").click()
    expect(page.locator(".figures")).to_contain_text(f"{dataset['rows']:,}")
    expect(page.get_by_role("region", name="Quality report").first).to_be_visible()
    for name, count in dataset["quality"].items():
        expect(page.locator("dt", has_text=name.replace("_", " ")).first).to_be_visible()
        expect(page.locator("dl.facts", has_text=name.replace("_", " ")).first).to_contain_text(
            f"{count:,}"
        )

    # Every day and every feature that lacks something, as the API has them.
    wait_until_drawn(page, 2)
    coverage = page.locator("figure", has_text="Stocks by day").locator(".js-plotly-plot")
    listed, scored, _ = coverage.evaluate("node => node.data.map((one) => Array.from(one.y))")
    assert (listed, scored) == (days["stocks"], days["members"])
    missing = page.locator("figure", has_text="Missing values").locator(".js-plotly-plot")
    shares = {one["name"]: one["missing_share"] for one in dataset["features"]}
    drawn = missing.evaluate(
        "node => Object.fromEntries(node.data[0].y.map((y, at) => [y, node.data[0].x[at]]))"
    )
    assert drawn == {name: shares[name] for name in drawn}
    assert max(drawn.values()) == max(shares.values())

    table = page.get_by_role("region", name="Features").last
    page.get_by_role("button", name="Missing").click()
    worst = max(shares, key=lambda name: shares[name])
    top = table.locator("tr.row").first.locator("code").first.inner_text()
    assert shares[top] == shares[worst]
    page.get_by_role("searchbox", name="Find features").fill("volatility")
    wanted = [one for one in dataset["features"] if "volatility" in str(one).lower()]
    expect(page.get_by_text(f"{len(wanted)} features", exact=True)).to_be_visible()
    page.get_by_role("link", name="Train on it").click()
    expect(page.get_by_label("Dataset", exact=True)).to_have_value("tiny")


def test_reference_lists_every_endpoint_without_the_internet(watched: Watched, stack: Any) -> None:
    paths = httpx.get(f"{stack.url}/openapi.json").json()["paths"]
    asked: list[str] = []
    watched.page.on("request", lambda request: asked.append(request.url))
    page = watched.go("/docs")
    expect(page.locator("article")).to_have_count(sum(len(methods) for methods in paths.values()))
    article = page.locator("article", has=page.get_by_text("/v1/version", exact=True))
    article.get_by_text("Try it").click()
    article.get_by_role("button", name="Send").click()
    expect(article.get_by_label("The answer")).to_contain_text('"api": "v1"')
    assert all(url.startswith(stack.url) for url in asked)


def test_no_page_lets_a_job_s_words_become_markup(
    watched: Watched, stack: Any, spec_of: Any
) -> None:
    evil = '<img src=x onerror="document.title=1">'
    spec = spec_of(evil, epochs=1, kind="linear")
    spec["labels"] = {"evil": evil}
    job = stack.submit(spec)
    for path in ("/", f"/jobs/{job['id']}", f"/compare?jobs={job['id']},{job['id']}"):
        page = watched.go(path)
        expect(page.get_by_text(evil).first).to_be_visible()
        assert page.locator("main img").count() == 0
    stack.wait_for(job["id"], "succeeded")


def test_nothing_serious_for_those_who_cannot_see_or_point(
    browser: Browser, stack: Any, finished: dict[str, Any]
) -> None:
    context = browser.new_context(viewport={"width": 1360, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    names = {"job_id": finished["id"], "dataset_id": "tiny"}
    found = []
    for address in ADDRESSES:
        if "{sweep_id}" in address:
            continue
        page.goto(stack.url + address.format(**names))
        page.wait_for_selector("main h1")
        found += serious(page, address)
        page.emulate_media(color_scheme="dark")
        # The rest has been checked: in the dark only the colours are others.
        found += serious(page, f"{address} dark", ["color-contrast"])
        page.emulate_media(color_scheme="light")
    context.close()
    assert not found


def test_phone_shows_everything_without_scrolling_sideways(
    browser: Browser, stack: Any, finished: dict[str, Any]
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    for address in ADDRESSES:
        if "{sweep_id}" in address:
            continue
        page.goto(stack.url + address.format(job_id=finished["id"], dataset_id="tiny"))
        page.wait_for_selector("main h1")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, address
    context.close()


def test_everything_can_be_reached_by_keyboard(watched: Watched, finished: dict[str, Any]) -> None:
    page = watched.go("/")
    expect(page.locator("tr.row").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    reached = [_tab(page) for _ in range(40)]
    assert f"/jobs/{finished['id']}" in reached
    assert "search" in reached
    assert "/submit" in reached


def test_what_is_missing_or_away_is_said(
    browser: Browser, stack: Any, finished: dict[str, Any]
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{stack.url}/jobs/job_01k8z3v8m4e9c2r7t5w6x0y1za")
    expect(page.get_by_role("alert")).to_contain_text("There is no such thing")
    expect(page.get_by_role("alert")).to_contain_text("request req_")
    page.goto(stack.url)
    expect(page.locator(".live")).to_have_text("live")
    context.set_offline(True)
    expect(page.locator(".live")).to_have_text("not connected", timeout=30_000)
    expect(page.locator("tr.row").first).to_be_visible()
    context.set_offline(False)
    expect(page.locator(".live")).to_have_text("live", timeout=60_000)
    context.close()


def serious(page: Page, where: str, rules: list[str] | None = None) -> list[Any]:
    """What axe-core finds that is serious or worse; of `rules`, or of all."""
    options = {"runOnly": {"type": "rule", "values": rules}} if rules else None
    return [
        (where, fault["id"], [node["html"][:160] for node in fault["nodes"][:3]])
        for fault in Axe().run(page, options=options).response["violations"]
        if fault["impact"] in SERIOUS
    ]


def _tab(page: Page) -> str:
    page.keyboard.press("Tab")
    return str(
        page.evaluate(
            "document.activeElement.getAttribute('href') ?? document.activeElement.type ?? ''"
        )
    )
