// `/datasets/{name}`: what a dataset holds, and how good it is.

import { get, request } from "../api.js";
import { fill, h } from "../dom.js";
import { NONE, bytes, moment, number, percent, plain, smallPercent } from "../format.js";
import { mood } from "../live.js";
import { confirmed } from "../parts/ask.js";
import { chart, colour, series } from "../parts/chart.js";
import { card, complain, empty, facts, figures } from "../parts/marks.js";
import { plainTable, virtualTable } from "../parts/table.js";

export async function show(main, { parameters: [name], signal, title }) {
  const path = `/v1/datasets/${encodeURIComponent(name)}`;
  title(name);
  const dataset = await get(path, undefined, { signal });
  mood("on");
  const coverage = chart("Stocks by day", { none: "Counting the days", high: true });
  const missing = chart("Missing values by feature, the most first", { none: "No feature lacks a value", high: true });

  fill(
    main,
    h(
      "div",
      { class: "stack wide" },
      heading(dataset, path),
      figures([
        ["Days", number(dataset.days), `${dataset.first_day} to ${dataset.last_day}`],
        ["Stocks", number(dataset.stocks), dataset.universe?.mean_size ? `${number(Math.round(dataset.universe.mean_size))} scored on a day` : null],
        ["Rows", number(dataset.rows), `${bytes(dataset.size_bytes)} as ${dataset.storage}`],
        ["Features", number(dataset.features_count), dataset.normalisation],
        ["Horizons", h("span", { class: "small" }, dataset.horizons.join(", ")), "trading days"],
      ]),
      h("div", { class: "columns" }, coverage.element, missing.element),
      quality(dataset),
      features(dataset),
      h("div", { class: "columns" }, universe(dataset), fingerprints(dataset)),
    ),
  );

  const worst = dataset.features.filter((one) => one.missing_share > 0).sort((a, b) => b.missing_share - a.missing_share).slice(0, 25).reverse();
  missing.draw(() => ({
    traces: [{ type: "bar", orientation: "h", y: worst.map((one) => one.name), x: worst.map((one) => one.missing_share), marker: { color: colour("series-2", 0.75) }, hovertemplate: "%{x:.2%}<extra></extra>" }],
    layout: { margin: { l: 130, r: 10, t: 8, b: 30 }, xaxis: { tickformat: ".1%", rangemode: "tozero", showgrid: true }, yaxis: { showgrid: false, tickfont: { size: worst.length > 12 ? 9 : 11 } }, hovermode: "closest", bargap: 0.3 },
    words: `${dataset.features.filter((one) => one.missing_share > 0).length} of ${dataset.features.length} features lack some`,
  }));
  const days = await get(`${path}/coverage`, undefined, { signal });
  coverage.draw(() => {
    const far = String(Math.max(...dataset.horizons));
    const line = (y, words, at, more) => ({ type: "scatter", mode: "lines", x: days.days, y, name: words, line: { color: series(at), width: 1.5 }, hovertemplate: "%{y}", ...more });
    return {
      traces: [line(days.stocks, "listed", 5), line(days.members, "scored", 0, { fill: "tozeroy", fillcolor: colour("series-1", 0.1) }), line(days.known[far], `outcome over ${far} d known`, 2)],
      layout: { showlegend: true, yaxis: { rangemode: "tozero" } },
      words: "",
    };
  });
}

function heading(dataset, path) {
  async function remove() {
    if (!(await confirmed(`Delete ${dataset.id}?`, "Its file and its graphs go for good. A job that still needs it keeps it from being deleted.", "Delete the dataset"))) return;
    try {
      await request("DELETE", path);
      location.assign("/datasets");
    } catch (problem) {
      complain(problem);
    }
  }
  return h(
    "div",
    { class: "head" },
    h("div", { class: "stack tight" }, h("h1", null, dataset.id), h("div", { class: "lead" }, h("span", { class: "mono", title: dataset.fingerprint }, dataset.fingerprint.slice(0, 16)), h("span", null, `made ${moment(dataset.created_at)}`), dataset.job_id ? h("span", null, "by ", h("a", { href: `/jobs/${dataset.job_id}` }, dataset.job_id)) : null, dataset.planted ? h("span", null, "a simulated market") : null)),
    h("div", { class: "bar" }, h("a", { class: "button", href: `/?dataset_id=${encodeURIComponent(dataset.id)}` }, "Its jobs"), h("a", { class: "button first", href: `/submit?dataset=${encodeURIComponent(dataset.id)}` }, "Train on it"), h("button", { class: "button danger", type: "button", onclick: remove }, "Delete")),
  );
}

function quality(dataset) {
  const counts = Object.entries(dataset.quality).map(([name, count]) => [name.replaceAll("_", " "), number(count)]);
  const report = dataset.report.length
    ? plainTable(
        ["Check", "Severity", "Rows", "Share", "Examples"],
        dataset.report.map((one) => [one.check.replaceAll("_", " "), h("span", { class: `badge ${{ error: "failed", warning: "paused" }[one.severity] ?? ""}` }, one.severity), number(one.count), smallPercent(one.share), one.examples.slice(0, 3).join("; ") || NONE]),
        { numbers: [2, 3], label: "Quality report" },
      )
    : h("div", { class: "body hint" }, "The checks of the source found nothing to tell.");
  return card("Quality report", h("div", null, report, counts.length ? h("div", { class: "body" }, facts(Object.fromEntries(counts))) : null));
}

function features(dataset) {
  const find = h("input", { type: "search", placeholder: "Name, formula or family", "aria-label": "Find features", oninput: () => draw() });
  const count = h("span", { class: "hint", role: "status" });
  const table = virtualTable({
    label: "Features",
    id: (one) => one.name,
    columns: [
      { key: "name", title: "Feature", value: (one) => one.name, show: (one) => h("code", null, one.name) },
      { key: "family", title: "Family", value: (one) => one.family, show: (one) => one.family },
      { key: "role", title: "Role", value: (one) => one.role, show: (one) => h("span", { class: "tag" }, one.role), rank: "third" },
      { key: "missing", title: "Missing", number: true, value: (one) => one.missing_share, show: (one) => (one.missing_share ? smallPercent(one.missing_share) : percent(0)) },
      { key: "lookback", title: "Days read", number: true, value: (one) => one.lookback_days, show: (one) => number(one.lookback_days), rank: "third" },
      { key: "formula", title: "Formula", value: (one) => one.formula, show: (one) => h("code", { title: one.formula }, one.formula), rank: "second" },
    ],
  });
  const holder = h("div");
  function draw() {
    const words = find.value.trim().toLowerCase();
    const found = dataset.features.filter((one) => !words || `${one.name} ${one.family} ${one.formula}`.toLowerCase().includes(words));
    count.textContent = `${found.length} features`;
    fill(holder, found.length ? table.element : empty("No feature fits", ""));
    table.rows(found);
  }
  const shown = card("Features", holder, h("div", { class: "bar" }, count, find));
  draw();
  return shown;
}

function universe(dataset) {
  const known = { ...Object.fromEntries(Object.entries(dataset.universe).filter(([, value]) => value !== null)), ...(dataset.planted ? { "planted rank IC": plain(dataset.planted.rank_ic) } : {}), ...Object.fromEntries(Object.entries(dataset.source).filter(([, value]) => value !== null).map(([name, value]) => [`source ${name}`, value])) };
  return card("Universe and source", h("div", { class: "body" }, facts(Object.fromEntries(Object.entries(known).map(([name, value]) => [name.replaceAll("_", " "), typeof value === "number" ? number(value) : plain(value)])))));
}

function fingerprints(dataset) {
  const columns = Object.entries(dataset.fingerprints).filter(([name]) => !name.includes("."));
  return card("Fingerprints", h("div", { class: "body" }, facts({ all: h("code", { title: dataset.fingerprint }, dataset.fingerprint), ...Object.fromEntries(columns.map(([name, value]) => [name, h("code", { title: value }, `${value.slice(0, 24)}…`)])) })), h("span", { class: "hint" }, `layout ${dataset.layout_version}, gogooku3 ${dataset.code_version}`));
}
