// `/datasets`: what jobs can train on.

import { all } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes, number } from "../format.js";
import { mood } from "../live.js";
import { empty } from "../parts/marks.js";
import { plainTable } from "../parts/table.js";

export async function show(main, { signal, title }) {
  title("Datasets");
  const { items } = await all("/v1/datasets", {}, { signal });
  mood("on");
  const rows = items.map((one) => [
    h("span", { class: "name" }, h("a", { href: `/datasets/${encodeURIComponent(one.id)}` }, one.id), h("small", { title: one.fingerprint }, one.fingerprint.slice(0, 12))),
    `${one.first_day} to ${one.last_day}`,
    number(one.days),
    number(one.stocks),
    number(one.rows),
    number(one.features_count),
    one.horizons.join(", "),
    bytes(one.size_bytes),
  ]);
  const table = plainTable(["Dataset", "Dates", "Days", "Stocks", "Rows", "Features", "Horizons", "Size"], rows, { numbers: [2, 3, 4, 5, 7], label: "Datasets" });
  const nothing = empty("No dataset yet", "A dataset is an Arrow cache of a market. Simulate one to try things, or build your own from a long table of prices.", h("pre", { class: "code" }, "gogooku3 data synth demo\ngogooku3 data build prices.parquet --name jp --top 1000"));
  fill(main, h("div", { class: "stack" }, h("h1", null, "Datasets"), h("section", { class: "card", "aria-label": "Datasets" }, items.length ? table : nothing)));
}
