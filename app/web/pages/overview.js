// `/`: what runs, what waits, what has been learnt.

import { address, all, get, post } from "../api.js";
import { fill, h, settle, text } from "../dom.js";
import { NONE, ago, moment, signed } from "../format.js";
import { poll } from "../live.js";
import { STATES, askedOf, badge, bones, complain, empty, fault, labels, left, place, progressBar, share, sparkline } from "../parts/marks.js";
import { sweepTable } from "../parts/sweeps.js";
import { virtualTable } from "../parts/table.js";
import { workerStrip } from "../parts/workers.js";

const FIRST = 40; // a screen and a half: what is typed into a filter is answered at once
const PAGE = 200;
const MOST = 1000;
const LIVE = ["queued", "running", "paused"];
const SPARK = "valid/rank_ic";
const FILTERS = ["q", "state", "dataset_id", "label"];

export async function show(main, { query, signal, title }) {
  title("Jobs");
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
  const jobs = new Map();
  const sparks = new Map();
  const chosen = new Set();
  let token = null;
  let loading = null;

  const compare = h("a", { class: "button", href: "/compare", hidden: true }, "Compare");
  const count = h("span", { class: "hint", role: "status" });
  const table = virtualTable({
    label: "Jobs",
    id: (job) => job.id,
    isChosen: (job) => chosen.has(job.id),
    onEnd: () => more(),
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
    const changed = settle(() => restart(), 15);
    const words = h("input", { type: "search", placeholder: "Name, note or id", "aria-label": "Find jobs by name, note or id", value: filter.q, oninput: () => ((filter.q = words.value.trim()), changed()) });
    const state = h("select", { "aria-label": "State", onchange: () => ((filter.state = state.value), restart()) }, [h("option", { value: "" }, "Every state"), ...STATES.map((one) => h("option", { value: one }, one))]);
    state.value = filter.state;
    const dataset = h("input", { type: "search", placeholder: "Dataset", size: 12, "aria-label": "Only on this dataset", class: "narrow-off", value: filter.dataset_id, oninput: () => ((filter.dataset_id = dataset.value.trim()), changed()) });
    const label = h("input", { type: "search", placeholder: "key:value", size: 12, "aria-label": "Only with this label, key:value", class: "narrow-off", value: filter.label, oninput: () => ((filter.label = label.value.trim()), changed()) });
    return h("form", { class: "bar", role: "search", onsubmit: (event) => event.preventDefault() }, words, state, dataset, label);
  }

  function asked() {
    // A label that is still being typed is not yet a filter.
    return { ...filter, label: /^[^:]+:/.test(filter.label) ? filter.label : "" };
  }

  let round = 0;
  async function restart() {
    history.replaceState(null, "", address("/", filter));
    const mine = (round += 1);
    try {
      const page = await get("/v1/jobs", { ...asked(), page_size: FIRST }, { signal });
      if (mine !== round) return;
      jobs.clear();
      take(page.items);
      token = page.next_page_token;
      drawAll();
      measure();
    } catch (problem) {
      if (mine === round && problem.name !== "AbortError") fill(holder, fault(problem, restart));
    }
  }

  function more() {
    if (!token || loading || jobs.size >= MOST) return;
    const mine = round;
    loading = get("/v1/jobs", { ...asked(), page_size: PAGE, page_token: token }, { signal })
      .then((page) => {
        if (mine !== round) return;
        take(page.items);
        token = page.next_page_token;
        drawAll();
      })
      .catch(complain)
      .finally(() => (loading = null));
  }

  function take(items) {
    for (const job of items) jobs.set(job.id, job);
  }

  function drawAll() {
    const rows = [...jobs.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    text(count, rows.length ? `${rows.length.toLocaleString("en-US")}${token ? "+" : ""} jobs` : "");
    if (!rows.length) {
      fill(holder, FILTERS.some((name) => filter[name]) ? empty("No job fits", "Loosen the filters above.") : welcome());
      return;
    }
    if (!holder.contains(table.element)) fill(holder, table.element);
    table.rows(rows);
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
  table.element.addEventListener("scroll", settle(() => measure().catch(complain), 200), { passive: true });

  /** What moves: the jobs that wait or run, the newest, and those that have just ended. */
  async function refresh() {
    const mine = round;
    const states = filter.state ? [filter.state] : LIVE;
    const [live, newest] = await Promise.all([
      all("/v1/jobs", { ...asked(), state: states }, { most: 200, signal }),
      get("/v1/jobs", { ...asked(), page_size: 20 }, { signal }),
    ]);
    if (mine !== round) return;
    const seen = new Set([...live.items, ...newest.items].map((job) => job.id));
    const ended = [...jobs.values()].filter((job) => LIVE.includes(job.state) && !seen.has(job.id)).slice(0, 20);
    const last = await Promise.all(ended.map((job) => get(`/v1/jobs/${job.id}`, undefined, { signal })));
    if (mine !== round) return;
    const before = JSON.stringify([...jobs.values()].map((job) => [job.id, job.updated_at]));
    take([...newest.items, ...last]);
    for (const job of live.items) if (jobs.has(job.id) || !token) jobs.set(job.id, job);
    for (const job of last) if (filter.state && job.state !== filter.state) jobs.delete(job.id);
    if (before !== JSON.stringify([...jobs.values()].map((job) => [job.id, job.updated_at]))) drawAll();
    await measure();
  }

  async function surroundings() {
    const [workers, found] = await Promise.all([get("/v1/workers", undefined, { signal }), get("/v1/sweeps", { page_size: 5 }, { signal })]);
    fill(strip, workerStrip(workers.items, jobs));
    sweeps.hidden = !found.items.length;
    fill(sweeps, h("section", { class: "card" }, h("header", null, h("h2", null, "Sweeps"), h("a", { href: "/sweeps" }, "All sweeps")), sweepTable(found.items)));
  }

  await restart();
  poll(refresh, { signal });
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
