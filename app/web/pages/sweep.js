// `/sweeps/{id}`: what a search tried, found, and what its winner is worth.

import { all, get, post } from "../api.js";
import { fill, h } from "../dom.js";
import { NONE, ago, duration, moment, number, percent, plain, signed } from "../format.js";
import { poll } from "../live.js";
import { confirmed, form } from "../parts/ask.js";
import { STATES, askedOf, badge, bones, card, complain, empty, facts, figures, labels, progressBar, toast } from "../parts/marks.js";
import { parallel } from "../parts/parallel.js";
import { front, history, importances, slices } from "../parts/search_plots.js";
import { trialCounts } from "../parts/sweeps.js";
import { virtualTable } from "../parts/table.js";

const MOST_TRIALS = 5000;
const TRADES = [
  ["valid/turnover", "turnover", true],
  ["valid/sharpe_net", "Sharpe after costs", false],
  ["valid/loss", "validation loss", true],
  ["sys/epoch_s", "seconds an epoch", true],
];
const ENDED = ["succeeded", "failed", "cancelled"];

export async function show(main, { parameters: [id], signal, title }) {
  const path = `/v1/sweeps/${encodeURIComponent(id)}`;
  let sweep = await get(path, undefined, { signal });
  let trials = [];
  let jobs = new Map();
  let keeps = null;
  let trade = TRADES[0];
  let told = null;
  let table = null;
  const filter = { state: "", words: "" };
  title(sweep.name ?? "Sweep");

  const open = (point) => point.customdata && location.assign(`/jobs/${point.customdata}`);
  const plots = {
    history: history({ onOpen: open }),
    importances: importances(),
    slices: slices({ onOpen: open }),
    parallel: parallel("Parallel coordinates", { onOpen: (trial) => trial.job_id && location.assign(`/jobs/${trial.job_id}`), onKeep: (holds) => ((keeps = holds), drawRows()) }),
    front: front("Trade-off", { onOpen: open, extra: tradePicker() }),
  };
  const top = h("div", { class: "stack" });
  const honest = h("div");
  const rows = h("div", null, bones());
  const count = h("span", { class: "hint", role: "status" });
  fill(
    main,
    h(
      "div",
      { class: "stack wide" },
      top,
      honest,
      h("section", { class: "stack", "aria-label": "What the search has learnt" }, h("div", { class: "columns" }, plots.history.element, plots.importances.element), plots.parallel.element),
      card("Trials", rows, filters()),
      h("section", { class: "stack", "aria-label": "Slices and trade-off" }, h("h2", null, "Slices"), plots.slices.element, plots.front.element),
    ),
  );

  const space = () => sweep.config.search_space;
  const names = () => Object.keys(space());
  const goal = () => sweep.objectives[0];
  const logs = () => new Set(Object.entries(space()).flatMap(([name, one]) => (one.log ? [name] : [])));

  function tradePicker() {
    const select = h("select", { "aria-label": "Against", onchange: () => ((trade = TRADES[select.selectedIndex]), drawFront()) }, TRADES.map(([, words]) => h("option", null, `against ${words}`)));
    return select;
  }

  function filters() {
    const state = h("select", { "aria-label": "State", onchange: () => ((filter.state = state.value), drawRows()) }, h("option", { value: "" }, "Every state"), STATES.map((one) => h("option", { value: one }, one)));
    const words = h("input", { type: "search", placeholder: "Parameter or value", "aria-label": "Find trials by parameter or value", oninput: () => ((filter.words = words.value.trim().toLowerCase()), drawRows()) });
    return h("div", { class: "bar" }, count, words, state);
  }

  function drawTop() {
    const { counts, ended, total } = trialCounts(sweep);
    const isOver = ENDED.includes(sweep.state);
    const eta = sweep.estimated_finish_at && !isOver ? (Date.parse(sweep.estimated_finish_at) - Date.now()) / 1000 : null;
    fill(
      top,
      h(
        "div",
        { class: "head" },
        h(
          "div",
          { class: "stack tight" },
          h("div", { class: "bar" }, h("h1", null, sweep.name ?? "unnamed sweep"), badge(sweep.state, askedOf(sweep)), labels(sweep.labels)),
          h("div", { class: "lead" }, h("span", { class: "mono" }, sweep.id), sweep.dataset ? h("span", null, "on ", h("a", { href: `/datasets/${encodeURIComponent(sweep.dataset)}` }, sweep.dataset)) : null, h("span", null, "created ", h("time", { datetime: sweep.created_at, title: moment(sweep.created_at) }, ago(sweep.created_at))), h("span", null, `${sweep.config.sampler.kind} sampler, ${sweep.config.pruner.kind === "none" ? "no" : sweep.config.pruner.kind} pruner`)),
        ),
        buttons(isOver),
      ),
      sweep.reason ? h("div", { class: "notice bad" }, h("strong", null, isOver ? "Why it ended" : "It is about to end"), h("span", null, sweep.reason.message ?? plain(sweep.reason))) : null,
      sweep.warnings.length ? h("div", { class: "notice warn" }, h("strong", null, "Worth knowing of the search space"), sweep.warnings.map((one) => h("span", null, one))) : null,
      progressBar(total ? Math.min(1, ended / total) : null, sweep.state, [`${ended} of ${total} trials`, eta > 0 ? `about ${duration(eta)} left` : null].filter(Boolean).join(" · ")),
      figures([
        ["Best value", signed(sweep.best?.value), sweep.best ? `trial ${sweep.best.number}` : "no complete trial"],
        ["Objective", h("span", { class: "small" }, goal().metric), goal().direction],
        ...["succeeded", "pruned", "running", "queued", "failed"].map((state) => [state[0].toUpperCase() + state.slice(1), number(counts[state] ?? 0), state === "running" && sweep.max_parallel ? `at most ${sweep.max_parallel}` : null]),
      ]),
    );
  }

  function buttons(isOver) {
    const isEnding = Boolean(sweep.cancel_requested_at) && !isOver;
    // Cancelled, but what ran was left to run to its end: that can still be stopped, too.
    const isFinishing = [...jobs.values()].some((job) => job.state === "running" && !job.cancel_requested_at);
    const act = (verb, words, query) => async () => {
      try {
        await post(`${path}/${verb}`, undefined, { query });
        toast(words);
        await refresh();
      } catch (problem) {
        complain(problem);
      }
    };
    async function cancel() {
      const said = sweep.cancel_requested_at ? "No new trial starts. Those that still run to their end write a checkpoint and stop." : "No new trial starts; the trials that run write a checkpoint and stop.";
      if (await confirmed("Cancel this sweep?", said, "Cancel the sweep")) await act("cancel", "Asked it to stop")();
    }
    async function extend() {
      const field = h("input", { type: "number", id: "extend", min: 1, max: 10000, value: sweep.n_trials + 10 });
      const done = await form("More trials", [h("div", { class: "field" }, h("label", { for: "extend" }, "Trials in all"), field)], "Extend", () => post(`${path}/extend`, { n_trials: Number(field.value) }));
      if (done) await refresh();
    }
    return h(
      "div",
      { class: "bar", role: "group", "aria-label": "Actions" },
      sweep.state === "running" && !isEnding ? h("button", { class: "button", type: "button", onclick: act("pause", "No new trial starts") }, "Pause") : null,
      sweep.state === "paused" ? h("button", { class: "button first", type: "button", onclick: act("resume", "It goes on") }, "Resume") : null,
      isEnding || ["cancelled", "failed"].includes(sweep.state) ? null : h("button", { class: "button", type: "button", onclick: extend }, "Extend"),
      isOver || (isEnding && !isFinishing) ? null : h("button", { class: "button danger", type: "button", onclick: cancel }, isEnding ? "Stop its runs" : "Cancel"),
    );
  }

  function columns() {
    return [
      { key: "number", title: "Trial", value: (t) => t.number, show: (t) => (t.job_id ? h("a", { href: `/jobs/${t.job_id}` }, `${t.number}`) : `${t.number}`) },
      { key: "state", title: "State", value: (t) => STATES.indexOf(t.state), show: (t) => badge(t.state) },
      { key: "value", title: "Value", number: true, value: (t) => t.value ?? null, show: (t) => h("span", { class: t.number === sweep.best?.number ? "winner" : undefined }, signed(t.value)) },
      ...names().map((name, at) => ({ key: `p:${name}`, title: name.split(".").slice(-2).join("."), number: typeof trials.find((t) => t.params[name] !== undefined)?.params[name] === "number", value: (t) => t.params[name] ?? null, show: (t) => (t.params[name] === undefined ? NONE : typeof t.params[name] === "number" ? number(t.params[name]) : plain(t.params[name])), rank: at > 1 ? "second" : "third" })),
    ];
  }

  function drawRows() {
    if (!trials.length) {
      fill(rows, empty("No trial yet", "The first is suggested as soon as a slot is free."));
      return;
    }
    table ??= virtualTable({ label: "Trials", id: (t) => String(t.number), columns: columns(), order: { key: "value", down: goal().direction !== "minimize" } });
    if (!rows.contains(table.element)) fill(rows, table.element);
    const fitting = trials.filter((t) => (!filter.state || t.state === filter.state) && (!keeps || keeps(t)) && (!filter.words || Object.entries(t.params).some(([name, value]) => `${name} ${plain(value)}`.toLowerCase().includes(filter.words))));
    count.textContent = fitting.length === trials.length ? `${trials.length} trials` : `${fitting.length} of ${trials.length} trials`;
    table.rows(fitting);
  }

  function drawFront() {
    const y = goal().metric;
    if (sweep.objectives.length > 1) {
      const x = sweep.objectives[1];
      const points = trials.flatMap((t) => (t.values && t.state === "succeeded" ? [{ x: t.values[1], y: t.values[0], name: `trial ${t.number}`, id: t.job_id }] : []));
      plots.front.draw(points, { x: x.metric, y, lessX: x.direction === "minimize", lessY: goal().direction === "minimize" });
      return;
    }
    const [metric, words, less] = trade;
    const points = trials.flatMap((t) => {
      const metrics = jobs.get(t.job_id)?.best?.metrics;
      return t.state === "succeeded" && metrics?.[metric] != null && metrics?.[y] != null ? [{ x: metrics[metric], y: metrics[y], name: `trial ${t.number}`, id: t.job_id }] : [];
    });
    plots.front.draw(points, { x: words, y, lessX: less, lessY: goal().direction === "minimize" });
  }

  function drawPlots() {
    plots.history.draw(trials, goal().direction);
    plots.slices.draw(trials, names(), logs());
    const complete = trials.filter((t) => t.value !== null && t.value !== undefined);
    const log = logs();
    plots.parallel.draw([...names().map((name) => ({ name, log: log.has(name), value: (t) => t.params[name] })), { name: goal().metric, value: (t) => t.value }], complete);
    drawFront();
  }

  /** The best trial with what choosing it among many has done to its figure: a worker works that
   * out after a trial has ended, so it is asked for although no trial has changed. */
  async function drawHonest() {
    if (!sweep.best) {
      fill(honest);
      return;
    }
    const [best, weights] = await Promise.all([get(`${path}/best`, undefined, { signal }), get(`${path}/importances`, undefined, { signal })]);
    if (told && told[0] === best && told[1] === weights) return;
    told = [best, weights];
    const selection = luck(best.selection ?? {});
    fill(
      honest,
      card(
        "The best trial, honestly",
        h(
          "div",
          { class: "body columns" },
          h("div", { class: "stack" }, h("h3", null, h("a", { href: `/jobs/${best.job_id}` }, `Trial ${best.number}: ${goal().metric} ${signed(best.value)}`)), facts(Object.fromEntries(Object.entries(best.params).map(([name, value]) => [name, h("code", null, typeof value === "number" ? number(value) : plain(value))])))),
          h("div", { class: "stack" }, h("h3", null, "What selection did to it"), selection ? facts(selection) : h("p", { class: "hint" }, "Not computed yet.")),
        ),
        h("span", { class: "hint" }, "The best of many trials looks better than it is"),
      ),
    );
    plots.importances.draw(Object.entries(weights.importances[goal().metric] ?? {}));
  }

  async function refresh() {
    const before = sweep;
    const [next, found, runs] = await Promise.all([get(path, undefined, { signal }), all(`${path}/trials`, {}, { most: MOST_TRIALS, signal }), all("/v1/jobs", { sweep_id: sweep.id }, { most: MOST_TRIALS, signal })]);
    const isSame = next === before && found.items.length === trials.length && found.items.every((t, at) => t === trials[at]);
    sweep = next;
    trials = found.items;
    jobs = new Map(runs.items.map((job) => [job.id, job]));
    if (!isSame) {
      drawTop();
      drawRows();
      drawPlots();
    }
    await drawHonest().catch((problem) => problem.status === 404 || complain(problem));
  }

  drawTop();
  poll(refresh, { every: 3000, signal, onProblem: (problem, failures) => failures === 1 && complain(problem) });
}

/** What choosing the best of many does to a figure, in words; null while nothing is known. */
function luck({ best_of: tried, runs_on_dataset: runs, deflated_sharpe: sharpe, overfitting, seed_noise: seeds }) {
  if (!tried) return null;
  return {
    "best of": `${number(tried)} trials`,
    "runs on this data": `${number(runs)}, of every sweep and by hand`,
    "deflated Sharpe": sharpe ? `${chance(sharpe.probability)} that it is above what luck gives in ${number(sharpe.trials)} trials` : "needs the daily returns of two trials",
    overfitting: overfitting ? `${chance(overfitting.probability)} that the best on some days is below the median on others` : "needs the daily series of two trials",
    "between seeds": seeds ? `${number(seeds.seed_std)} standard deviation, ${number(seeds.effect_std)} between trials` : null,
  };
}

/** A probability; nothing here is certain. */
const chance = (share) => (share > 0.99 ? "more than 99%" : share < 0.01 ? "less than 1%" : percent(share));
