// Day by day: rank IC, and what the top decile minus the bottom decile would have earned.

import { get } from "../api.js";
import { h } from "../dom.js";
import { percent, signed } from "../format.js";
import { chart, colour, series } from "./chart.js";
import { complain } from "./marks.js";
import { choice } from "./tabs.js";

const WIDTH = 20;
const NAMES = ["rank_ic", "long_short", "long_short_net"];
const MOST_FEATURES = 20;

/** {element, load()}: stays hidden until an epoch has stored its daily series. */
export function dailyCharts(path, job, signal) {
  const horizons = job.config?.data?.horizons ?? [];
  let horizon = horizons[0];
  let answer = null;
  const ic = chart(`Rank IC by day, and its mean over ${WIDTH} days`);
  const curve = chart("Cumulative long-short return, before and after costs");
  const features = chart("What the model looks at", { none: "This model does not weigh its features", high: true });
  const picker = horizons.length > 1 ? choice(horizons.map((one) => [one, `${one} d`]), horizon, (value) => ((horizon = value), draw()), "Horizon") : null;
  const epoch = h("span", { class: "hint" });
  const element = h("section", { class: "stack", hidden: true, "aria-label": "Day by day" }, h("div", { class: "bar apart" }, h("div", { class: "bar" }, h("h2", null, "Day by day"), epoch), picker), h("div", { class: "columns" }, ic.element, curve.element), features.element);

  async function load() {
    try {
      const has = await get(`${path}/outputs`, undefined, { signal });
      if (!has.daily) return;
      answer = await get(`${path}/daily`, { names: NAMES.join(",") }, { signal });
      element.hidden = false;
      epoch.textContent = `epoch ${answer.epoch}, ${answer.split}`;
      draw();
      features.element.hidden = !has.importance;
      if (has.importance) await weigh();
    } catch (problem) {
      complain(problem);
    }
  }

  async function weigh() {
    const found = await get(`${path}/importance`, undefined, { signal });
    const top = found.features.slice(0, MOST_FEATURES).reverse();
    features.draw(() => ({
      traces: [{ type: "bar", orientation: "h", y: top.map((one) => one.name), x: top.map((one) => one.weight), marker: { color: colour("series-3", 0.75) }, hovertemplate: "%{x:.2%}<extra></extra>" }],
      layout: { margin: { l: 150, r: 10, t: 8, b: 30 }, xaxis: { tickformat: ".1%", rangemode: "tozero", showgrid: true }, yaxis: { showgrid: false, tickfont: { size: 10 } }, hovermode: "closest", bargap: 0.35 },
      words: `the ${top.length} heaviest of ${found.features.length} features, epoch ${found.epoch}`,
    }));
  }

  const values = (name) => answer.series.find((one) => one.name === `${name}@${horizon}`)?.values ?? [];

  function draw() {
    const x = answer.dates;
    ic.draw(() => {
      const daily = values("rank_ic");
      const known = daily.filter((v) => v !== null);
      const above = known.length ? known.filter((v) => v > 0).length / known.length : null;
      return {
        traces: [
          { type: "bar", x, y: daily, name: "rank IC", marker: { color: colour("series-1", 0.35) }, hovertemplate: "%{y:.4f}" },
          { type: "scatter", mode: "lines", x, y: rolling(daily, WIDTH), name: `mean of ${WIDTH}`, line: { color: series(0), width: 2 }, hovertemplate: "%{y:.4f}" },
        ],
        layout: { bargap: 0 },
        words: `mean ${signed(mean(daily))}, above zero on ${percent(above)} of days`,
      };
    });
    curve.draw(() => {
      const line = (name, words, at, more) => ({ type: "scatter", mode: "lines", x, y: cumulative(values(name), horizon), name: words, line: { color: series(at), width: 2 }, hovertemplate: "%{y:.2%}", ...more });
      const traces = [line("long_short", "before costs", 0, { fill: "tozeroy", fillcolor: colour("series-1", 0.08) }), line("long_short_net", "after costs", 1)];
      const last = (trace) => percent(trace.y[trace.y.length - 1] ?? null, 1);
      return { traces, layout: { showlegend: true, yaxis: { tickformat: ".0%" } }, words: `${last(traces[0])} before, ${last(traces[1])} after costs` };
    });
  }

  return { element, load };
}

function mean(values) {
  const known = values.filter((v) => v !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
}

function rolling(values, width) {
  return values.map((_, at) => (at + 1 < width ? null : mean(values.slice(at + 1 - width, at + 1))));
}

/** A return over `horizon` days is earned by a `horizon`-th of the book each day. */
function cumulative(values, horizon) {
  let sum = 0;
  return values.map((v) => (sum += (v ?? 0) / horizon));
}
