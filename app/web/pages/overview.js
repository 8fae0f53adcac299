// `/`: what runs, what waits, what has been learnt.

import { address, get, post } from "../api.js";
import { fill, h, settle, text } from "../dom.js";
import { NONE, ago, moment, signed } from "../format.js";
import { poll } from "../live.js";
import { jobList } from "../parts/job_list.js";
import { STATES, askedOf, badge, bones, complain, empty, fault, labels, left, place, progressBar, share, sparkline } from "../parts/marks.js";
import { sweepTable } from "../parts/sweeps.js";
import { virtualTable } from "../parts/table.js";
import { workerStrip } from "../parts/workers.js";

const SPARK = "valid/rank_ic";
const FILTERS = ["q", "state", "dataset_id", "label"];

export async function show(main, { query, signal, title }) {
  title("Jobs");
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
  const jobs = jobList(filter, signal);
  const sparks = new Map();
  const chosen = new Set();

  const compare = h("a", { class: "button", href: "/compare", hidden: true }, "Compare");
  const count = h("span", { class: "hint", role: "status" });
  const table = virtualTable({
    label: "Jobs",
    id: (job) => job.id,
    isChosen: (job) => chosen.has(job.id),
    onEnd: () => jobs.more().then(drawIf).catch(complain),
    columns: columns(),
  });
  const holder = h("div", null, bones());
  const strip = h("div");
  const sweeps = h("div", { hidden: true });

  fill(
    main,
    h(
      "div",
      { class: "stack" },
      h("div", { class: "head" }, h("h1", null, "Jobs"), h("div", { class: "bar" }, h("a", { class: "button first", href: "/submit" }, "Submit a job"))),
      strip,
      sweeps,
      h("section", { class: "card", "aria-label": "Jobs" }, h("header", null, filters(), h("div", { class: "bar" }, compare, count)), holder),
    ),
  );

  function columns() {
    return [
      { key: "name", title: "Job", value: (job) => (job.name ?? job.id).toLowerCase(), show: nameOf },
      { key: "state", title: "State", value: (job) => STATES.indexOf(job.state), show: (job) => badge(job.state, askedOf(job)) },
      { key: "progress", title: "Progress", value: share, show: (job) => progressBar(share(job), job.state, place(job)), rank: "third" },
      { key: "eta", title: "Left", number: true, value: (job) => (job.state === "running" ? job.progress?.eta_s : null), show: left, rank: "third" },
      { key: "rank_ic", title: "Best rank IC", number: true, value: bestOf, show: (job) => signed(bestOf(job)) },
      { key: "spark", title: "Validation rank IC", sort: false, show: (job) => (sparks.get(job.id)?.length ? sparkline(sparks.get(job.id), "Validation rank IC") : h("span", { class: "hint" }, NONE)), rank: "second" },
      { key: "dataset", title: "Dataset", value: (job) => job.dataset, show: (job) => h("a", { href: `/datasets/${encodeURIComponent(job.dataset)}` }, job.dataset), rank: "second" },
      { key: "labels", title: "Labels", sort: false, show: (job) => labels(job.labels), rank: "second" },
      { key: "created", title: "Created", number: true, value: (job) => job.created_at, show: (job) => h("time", { datetime: job.created_at, title: moment(job.created_at) }, ago(job.created_at)), rank: "third" },
    ];
  }

  function nameOf(job) {
    const box = h("input", { type: "checkbox", checked: chosen.has(job.id), "aria-label": `Compare ${job.name ?? job.id}`, onchange: () => choose(job, box.checked) });
    const link = h("a", { href: `/jobs/${job.id}`, title: job.name ?? job.id }, job.name ?? (job.kind === "dataset" ? `build of ${job.dataset}` : "unnamed"));
    return h("span", { class: "pick" }, box, h("span", { class: "name" }, link, h("small", null, job.id)));
  }

  function choose(job, is) {
    if (is) chosen.add(job.id);
    else chosen.delete(job.id);
    compare.hidden = chosen.size < 2;
    compare.textContent = `Compare ${chosen.size}`;
    compare.href = `/compare?jobs=${[...chosen].join(",")}`;
    table.redraw();
  }

  function filters() {
    const words = h("input", { type: "search", placeholder: "Name, note or id", "aria-label": "Find jobs by name, note or id", value: filter.q, oninput: () => set("q", words) });
    const state = h("select", { "aria-label": "State", onchange: () => set("state", state) }, [h("option", { value: "" }, "Every state"), ...STATES.map((one) => h("option", { value: one }, one))]);
    state.value = filter.state;
    const dataset = h("input", { type: "search", placeholder: "Dataset", size: 12, "aria-label": "Only on this dataset", class: "narrow-off", value: filter.dataset_id, oninput: () => set("dataset_id", dataset) });
    const label = h("input", { type: "search", placeholder: "key:value", size: 12, "aria-label": "Only with this label, key:value", class: "narrow-off", value: filter.label, oninput: () => set("label", label) });
    return h("form", { class: "bar", role: "search", onsubmit: (event) => event.preventDefault(), onfocusin: () => jobs.hold().then(drawIf).catch(complain) }, words, state, dataset, label);
  }

  function set(name, input) {
    filter[name] = input.value.trim();
    remember();
    if (jobs.isWhole()) drawAll();
    else find();
  }

  const remember = settle(() => history.replaceState(null, "", address("/", filter)), 200);

  async function find() {
    try {
      drawIf(await jobs.find());
    } catch (problem) {
      if (problem.name !== "AbortError") fill(holder, fault(problem, find));
    }
  }

  function drawIf(isOther) {
    if (isOther) drawAll();
  }

  function drawAll() {
    const rows = jobs.rows();
    text(count, rows.length ? `${rows.length.toLocaleString("en-US")}${jobs.hasMore() ? "+" : ""} job${rows.length === 1 ? "" : "s"}` : "");
    if (!rows.length) {
      fill(holder, FILTERS.some((name) => filter[name]) ? empty("No job fits", "Loosen the filters above.") : welcome());
      return;
    }
    if (!holder.contains(table.element)) fill(holder, table.element);
    table.rows(rows);
    measureSoon();
  }

  /** Series for the sparklines of the rows in sight, in one request. */
  async function measure() {
    const wanted = table.inSight().filter((id) => {
      const job = jobs.get(id);
      return job?.metrics && sparks.get(id)?.at !== job.updated_at;
    });
    if (!wanted.length) return;
    const found = await post("/v1/metrics/query", { jobs: wanted.slice(0, 100), names: [SPARK], max_points: 40 }, { signal });
    for (const one of found.jobs) {
      const points = one.series[0]?.points ?? [];
      points.at = jobs.get(one.job_id)?.updated_at;
      sparks.set(one.job_id, points);
    }
    table.redraw();
  }
  const measureSoon = settle(() => measure().catch(complain), 200);
  table.element.addEventListener("scroll", measureSoon, { passive: true });

  async function refresh() {
    drawIf(await jobs.refresh());
    await measure();
  }

  async function surroundings() {
    const [workers, found] = await Promise.all([get("/v1/workers", undefined, { signal }), get("/v1/sweeps", { page_size: 5 }, { signal })]);
    fill(strip, workerStrip(workers.items, jobs));
    sweeps.hidden = !found.items.length;
    fill(sweeps, h("section", { class: "card" }, h("header", null, h("h2", null, "Sweeps"), h("a", { href: "/sweeps" }, "All sweeps")), sweepTable(found.items)));
  }

  await find();
  poll(refresh, { isFresh: true, signal });
  poll(surroundings, { every: 4000, signal, onProblem: (problem, failures) => failures === 1 && fill(strip, fault(problem)) });
}

function bestOf(job) {
  return job.best?.metrics?.[SPARK] ?? job.metrics?.[SPARK] ?? null;
}

function welcome() {
  return empty(
    "No job yet",
    "Submit a training specification and watch every epoch arrive here. From a terminal it is two commands:",
    h("pre", { class: "code" }, "gogooku3 data synth demo\ngogooku3 submit examples/job_baseline.json --watch"),
    h("a", { class: "button first", href: "/submit" }, "Submit a job"),
  );
}
