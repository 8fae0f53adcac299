// Learning curves of one job, drawn from its metrics.

import { get } from "../api.js";
import { h } from "../dom.js";
import { number } from "../format.js";
import { chart, colour, epochs, lastAndBest, line, roomy, series } from "./chart.js";
import { choice } from "./tabs.js";

const MOST_POINTS = 500;
const UNITS = { "sys/gpu_util": "GPU", "sys/cpu_util": "CPU", "sys/data_wait_share": "waiting for data" };

/** {element, load()}: load() asks for the metrics again and draws what there is. */
export function curves(path, signal) {
  let found = {};
  let horizon = null;
  let split = "valid";
  const picker = h("div", { class: "bar" });

  const loss = chart("Loss", { none: "The first epoch is under way" });
  const rank = chart("Rank IC", { none: "The first epoch is under way" });
  const ic = chart("IC", { none: "The first epoch is under way" });
  const sharpe = chart("Sharpe, before and after costs", { none: "The first epoch is under way" });
  const rate = chart("Learning rate", { none: "This model has no learning rate" });
  const use = chart("Use of the machine", { none: "Not measured yet" });
  const element = h("section", { class: "stack", "aria-label": "Curves" }, h("div", { class: "bar apart" }, h("h2", null, "Curves"), picker), h("div", { class: "columns three" }, [loss, rank, ic, sharpe, rate, use].map((one) => one.element)));

  const points = (name) => found[name] ?? [];
  const at = (name) => (horizon ? `${name}@${horizon}` : name);

  function draw() {
    loss.draw(() => {
      const validation = points(at(`${split}/loss`));
      return { traces: [line(points("train/loss"), "train", 1), line(validation, split, 0)], layout: { showlegend: true, xaxis: epochs(validation, points("train/loss")), yaxis: points("train/loss").length ? {} : roomy(validation) }, words: `${split}: ${lastAndBest(validation, false)}` };
    });
    rank.draw(() => correlation("rank_ic"));
    ic.draw(() => correlation("ic"));
    sharpe.draw(() => {
      const gross = points(at(`${split}/sharpe`));
      return { traces: [line(gross, "before costs", 0), line(points(at(`${split}/sharpe_net`)), "after costs", 1)], layout: { showlegend: true, xaxis: epochs(gross) }, words: lastAndBest(gross) };
    });
    rate.draw(() => ({ traces: [line(points("train/lr"), "learning rate", 2)], layout: { xaxis: epochs(points("train/lr")), yaxis: { rangemode: "tozero" } }, words: points("train/lr").length ? `last ${number(points("train/lr").at(-1).value)}` : "" }));
    use.draw(() => {
      const names = Object.keys(UNITS).filter((name) => points(name).length);
      return { traces: names.map((name, position) => line(points(name), UNITS[name], position)), layout: { showlegend: true, xaxis: epochs(...names.map(points)), yaxis: { tickformat: ".0%", range: [0, 1.02] } }, words: "" };
    });
  }

  /** With the interval of the horizon that is shown: the mean over horizons has none. */
  function correlation(name) {
    const middle = points(at(`${split}/${name}`));
    const traces = [line(middle, name === "ic" ? "IC" : "rank IC", 0)];
    const low = horizon ? points(`${split}/${name}_low@${horizon}`) : [];
    const high = horizon ? points(`${split}/${name}_high@${horizon}`) : [];
    if (low.length && high.length) {
      const edge = { mode: "lines", line: { width: 0, color: series(0) }, hoverinfo: "skip", marker: undefined };
      traces.unshift(line(low, "2.5 %", 0, edge), line(high, "97.5 %", 0, { ...edge, fill: "tonexty", fillcolor: colour("series-1", 0.14) }));
    }
    return { traces, layout: { xaxis: epochs(middle), yaxis: { zeroline: true, ...(low.length ? {} : roomy(middle)) } }, words: lastAndBest(middle) };
  }

  function offer() {
    const horizons = [...new Set(Object.keys(found).flatMap((name) => name.match(/\/rank_ic@(\d+)$/)?.[1] ?? []))].sort((a, b) => a - b);
    const splits = [...new Set(Object.keys(found).map((name) => name.split("/")[0]))].filter((one) => !["train", "sys"].includes(one)).sort();
    const key = `${splits} ${horizons}`;
    if (picker.dataset.key === key) return;
    picker.dataset.key = key;
    if (splits.length && !splits.includes(split)) split = splits[0];
    picker.replaceChildren();
    if (splits.length > 1) picker.append(choice(splits.map((one) => [one, one]), split, (value) => ((split = value), draw()), "Split"));
    if (horizons.length > 1) picker.append(choice([[null, "mean"], ...horizons.map((one) => [one, `${one} d`])], horizon, (value) => ((horizon = value), draw()), "Horizon"));
  }

  async function load() {
    const answer = await get(`${path}/metrics`, { max_points: MOST_POINTS }, { signal });
    found = Object.fromEntries(answer.series.map((one) => [one.name, one.points]));
    offer();
    draw();
  }

  return { element, load };
}
