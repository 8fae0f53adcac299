// `/compare?jobs=a,b`: curves on one another, figures side by side, and what differs.

import { all, get, post } from "../api.js";
import { fill, h } from "../dom.js";
import { NONE, flat, number, plain, signed } from "../format.js";
import { mood, poll } from "../live.js";
import { FINISHED, askedOf, badge, empty } from "../parts/marks.js";
import { chart, epochs, lastAndBest, line, seriesName } from "../parts/chart.js";
import { plainTable } from "../parts/table.js";

const MOST = 12;
const CHARTS = ["valid/rank_ic", "valid/loss", "valid/ic", "valid/sharpe_net"];
const MEASURES = ["rank_ic", "rank_icir", "ic", "icir", "sharpe", "sharpe_net", "turnover", "hit_rate", "loss"];
const LESS = new Set(["turnover", "loss"]);
const TITLES = { "valid/rank_ic": "Rank IC", "valid/loss": "Validation loss", "valid/ic": "IC", "valid/sharpe_net": "Sharpe after costs" };

export async function show(main, { query, signal, title }) {
  title("Compare");
  const ids = [...new Set((query.get("jobs") ?? "").split(",").filter(Boolean))].slice(0, MOST);
  if (ids.length < 2) return choose(main, ids, signal);
  let jobs = await Promise.all(ids.map((id) => get(`/v1/jobs/${encodeURIComponent(id)}`, undefined, { signal })));
  const charts = Object.fromEntries(CHARTS.map((name) => [name, chart(TITLES[name], { none: "No job has this yet" })]));
  const head = h("div", { class: "stack" });
  const figures = h("section", { class: "card", "aria-label": "Best epochs" });
  const differences = h("section", { class: "card", "aria-label": "What differs" });
  fill(main, h("div", { class: "stack wide" }, h("div", { class: "head" }, h("h1", null, `${jobs.length} jobs compared`), h("a", { class: "button", href: "/compare" }, "Choose others")), head, h("div", { class: "columns two" }, CHARTS.map((name) => charts[name].element)), figures, differences));

  const nameOf = (job) => job.name ?? job.id;

  function draw(metrics) {
    fill(
      head,
      h("div", { class: "card" }, plainTable(["", "Job", "State", "Dataset", "Best epoch"], jobs.map((job, at) => [swatch(at), h("span", { class: "name" }, h("a", { href: `/jobs/${job.id}` }, nameOf(job)), h("small", null, job.id)), badge(job.state, askedOf(job)), h("a", { href: `/datasets/${encodeURIComponent(job.dataset)}` }, job.dataset), job.best?.epoch ?? NONE]), { numbers: [4], label: "Jobs" })),
      warning(),
    );
    for (const name of CHARTS) {
      charts[name].draw(() => ({
        traces: jobs.flatMap((job, at) => {
          const points = metrics.get(job.id)?.[name] ?? [];
          return points.length ? [line(points, nameOf(job), at)] : [];
        }),
        layout: { xaxis: epochs(...jobs.map((job) => metrics.get(job.id)?.[name] ?? [])) },
        words: jobs.length === 2 ? "" : `${jobs.length} jobs`,
      }));
      charts[name].element.querySelector(".plot").setAttribute("aria-label", `${TITLES[name]}: ${jobs.map((job) => `${nameOf(job)} ${lastAndBest(metrics.get(job.id)?.[name] ?? [], name !== "valid/loss")}`).join("; ")}`);
    }
    drawFigures();
    drawDifferences();
  }

  /** Figures of different days or stocks must not be read against each other. */
  function warning() {
    const data = new Set(jobs.map((job) => job.dataset_fingerprint));
    const splits = new Set(jobs.map((job) => JSON.stringify(job.config?.data?.split)));
    const said = [data.size > 1 ? "different datasets" : null, splits.size > 1 ? "different splits" : null].filter(Boolean);
    return said.length ? h("div", { class: "notice warn" }, h("strong", null, "Not a fair comparison"), h("span", null, `These jobs were evaluated on ${said.join(" and ")}: their figures speak of different days or stocks.`)) : null;
  }

  function drawFigures() {
    const of = (job, name) => job.best?.metrics?.[`valid/${name}`] ?? null;
    const rows = MEASURES.map((name) => {
      const values = jobs.map((job) => of(job, name));
      const known = values.filter((v) => v !== null);
      const best = known.length > 1 ? (LESS.has(name) ? Math.min(...known) : Math.max(...known)) : null;
      return [h("code", null, `valid/${name}`), ...values.map((value) => h("span", { class: value !== null && value === best ? "winner" : undefined }, /ic/.test(name) ? signed(value) : number(value)))];
    });
    fill(figures, h("header", null, h("h2", null, "Best epochs"), h("span", { class: "hint" }, "the best of each row is marked")), plainTable(["Metric", ...jobs.map(nameOf)], rows, { numbers: jobs.map((_, at) => at + 1), label: "Best epochs" }));
  }

  function drawDifferences() {
    const configs = jobs.map((job) => flat({ dataset: job.dataset, ...job.config }));
    const paths = [...new Set(configs.flatMap(Object.keys))].sort();
    const rows = paths.filter((path) => new Set(configs.map((one) => JSON.stringify(one[path]))).size > 1);
    const table = rows.length ? plainTable(["Key", ...jobs.map(nameOf)], rows.map((path) => [h("code", null, path), ...configs.map((one) => h("code", { class: "value" }, one[path] === undefined ? NONE : plain(one[path])))]), { label: "What differs" }) : empty("The configurations are the same", "Differences between these jobs are chance: other hardware, other code, or nothing.");
    fill(differences, h("header", null, h("h2", null, "What differs"), h("span", { class: "hint" }, `${rows.length} of ${paths.length} keys`)), table);
  }

  async function refresh(isFirst) {
    const next = await Promise.all(ids.map((id) => get(`/v1/jobs/${encodeURIComponent(id)}`, undefined, { signal })));
    if (!isFirst && next.every((job, at) => job === jobs[at])) return;
    jobs = next;
    const answer = await post("/v1/metrics/query", { jobs: ids, names: CHARTS, max_points: 400 }, { signal });
    draw(new Map(answer.jobs.map((one) => [one.job_id, Object.fromEntries(one.series.map((s) => [s.name, s.points]))])));
  }

  await refresh(true);
  mood("on");
  if (!jobs.every((job) => FINISHED.has(job.state))) poll(() => refresh(false), { every: 3000, signal });
}

function swatch(at) {
  const mark = h("span", { class: "swatch" });
  mark.style.background = `var(--${seriesName(at)})`;
  return mark;
}

/** Without two jobs: pick them. */
async function choose(main, ids, signal) {
  const { items } = await all("/v1/jobs", { kind: "train" }, { most: 100, signal });
  const chosen = new Set(ids);
  const go = h("button", { class: "button first", type: "submit", disabled: chosen.size < 2 }, "Compare");
  const rows = items.map((job) => {
    const box = h("input", { type: "checkbox", checked: chosen.has(job.id), "aria-label": `Compare ${job.name ?? job.id}`, onchange: () => (box.checked ? chosen.add(job.id) : chosen.delete(job.id), (go.disabled = chosen.size < 2)) });
    return [box, h("span", { class: "name" }, h("a", { href: `/jobs/${job.id}` }, job.name ?? "unnamed"), h("small", null, job.id)), badge(job.state, askedOf(job)), job.dataset, signed(job.best?.metrics?.["valid/rank_ic"])];
  });
  fill(
    main,
    h(
      "form",
      { class: "stack", onsubmit: (event) => (event.preventDefault(), location.assign(`/compare?jobs=${[...chosen].join(",")}`)) },
      h("div", { class: "head" }, h("h1", null, "Compare jobs"), go),
      h("section", { class: "card", "aria-label": "Jobs" }, items.length ? plainTable(["", "Job", "State", "Dataset", "Best rank IC"], rows, { numbers: [4], label: "Jobs to compare" }) : empty("No job yet", "Submit two, then compare them.", h("a", { class: "button first", href: "/submit" }, "Submit a job"))),
    ),
  );
}
