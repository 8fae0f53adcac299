// `/jobs/{id}`: one run, as it happens and afterwards.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { NONE, ago, bytes, duration, elapsed, moment, number, signed } from "../format.js";
import { follow, mood, poll } from "../live.js";
import { actionButtons } from "../parts/actions.js";
import { curves } from "../parts/curves.js";
import { dailyCharts } from "../parts/daily.js";
import { attempts, checkpoints, configuration, events, provenance } from "../parts/records.js";
import { logTail } from "../parts/log.js";
import { FINISHED, askedOf, badge, facts, figures, labels, left, place, progressBar, share } from "../parts/marks.js";
import { tabs } from "../parts/tabs.js";

export async function show(main, { parameters: [id], signal, title }) {
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  const state = { job: await get(path, undefined, { signal }), events: [] };
  title(nameOf(state.job));

  const top = h("div", { class: "stack" });
  const numbers = h("div");
  const isBuild = state.job.kind === "dataset";
  const drawing = isBuild ? null : curves(path, signal);
  const days = isBuild ? null : dailyCharts(path, state.job, signal);
  const log = logTail(path, signal, () => FINISHED.has(state.job.state));
  const records = tabs(
    [
      { key: "log", title: "Log", make: () => log.element, shown: log.look },
      { key: "config", title: "Configuration", make: () => configuration(state.job) },
      isBuild ? null : { key: "checkpoints", title: "Checkpoints", ...checkpoints(path, signal) },
      { key: "attempts", title: "Attempts", ...attempts(path, signal) },
      { key: "events", title: "Events", ...events(state) },
      { key: "provenance", title: "Provenance", make: () => provenance(state.job) },
    ].filter(Boolean),
    { label: "The job's records", first: location.hash.slice(1) || "log" },
  );

  fill(main, h("div", { class: "stack wide" }, top, numbers, drawing?.element, days?.element, records.element));

  function draw() {
    const { job } = state;
    fill(top, heading(job, () => refresh()), failure(job), bar(job));
    fill(numbers, isBuild ? builtFigures(job) : trainedFigures(job));
    document.title = `${job.state === "running" ? `${place(job)} ` : ""}${nameOf(job)} · gogooku3`;
  }

  async function refresh() {
    const before = state.job;
    state.job = await get(path, undefined, { signal });
    if (state.job !== before) draw();
  }

  draw();
  await drawing?.load();
  if (state.job.metrics) days?.load();

  let asked = null;
  /** Several events close together ask for the job once. */
  function soon() {
    asked ??= setTimeout(() => {
      asked = null;
      refresh().catch(() => mood("lost"));
    }, 150);
  }

  function take(found) {
    state.events.push(...found);
    const kinds = new Set(found.map((event) => event.type));
    if (kinds.has("epoch")) drawing?.load().catch(() => mood("lost"));
    if (kinds.has("checkpoint")) days?.load();
    if (["checkpoint", "state"].some((kind) => kinds.has(kind))) records.select(records.current());
    log.look();
    soon();
  }

  const seen = await backlog(path, state, signal);
  if (FINISHED.has(state.job.state)) {
    mood("on");
    // A finished job may be taken up again: look now and then.
    poll(
      async () => {
        await refresh();
        if (!FINISHED.has(state.job.state)) location.reload();
      },
      { every: 5000, signal },
    );
    return;
  }
  follow(id, seen, take, { signal }).then(() => refresh().catch(() => mood("lost")));
}

/** The events so far; the stream goes on behind them. */
async function backlog(path, state, signal) {
  let after = 0;
  for (;;) {
    const page = await get(`${path}/events`, { after, limit: 1000 }, { signal });
    state.events.push(...page.items);
    after = page.next_after;
    if (!page.has_more) return after;
  }
}

const nameOf = (job) => job.name ?? (job.kind === "dataset" ? `build of ${job.dataset}` : "unnamed job");

function heading(job, refresh) {
  const origin = job.parent_id ? h("span", null, "from ", h("a", { href: `/jobs/${job.parent_id}` }, job.parent_id)) : null;
  const sweep = job.sweep_id ? h("span", null, "trial of ", h("a", { href: `/sweeps/${job.sweep_id}` }, job.sweep_id)) : null;
  return h(
    "div",
    { class: "head" },
    h(
      "div",
      { class: "stack tight" },
      h("div", { class: "bar" }, h("h1", null, nameOf(job)), badge(job.state, askedOf(job)), labels(job.labels)),
      h(
        "div",
        { class: "lead" },
        h("span", { class: "mono" }, job.id),
        h("span", null, job.kind === "dataset" ? "builds " : "on ", h("a", { href: `/datasets/${encodeURIComponent(job.dataset)}` }, job.dataset)),
        h("span", null, "created ", h("time", { datetime: job.created_at, title: moment(job.created_at) }, ago(job.created_at))),
        job.attempt > 1 ? h("span", null, `attempt ${job.attempt}`) : null,
        job.priority ? h("span", null, `priority ${job.priority}`) : null,
        sweep,
        origin,
      ),
      job.note ? h("p", { class: "hint" }, job.note) : null,
    ),
    actionButtons(job, refresh),
  );
}

/** Why it did not end well, and what to do. */
function failure(job) {
  if (!job.reason || !["failed", "cancelled", "queued", "paused", "pruned"].includes(job.state)) return null;
  const { class: kind, code, message, next_action: next } = job.reason;
  return h(
    "div",
    { class: job.state === "failed" ? "notice bad" : "notice warn", role: job.state === "failed" ? "alert" : undefined },
    h("strong", null, job.state === "failed" ? `Failed${kind ? `: ${kind}` : ""}` : `Why it is ${job.state}`),
    message ? h("span", null, message) : null,
    next ? h("span", null, h("b", null, "What to do: "), next) : null,
    code ? h("small", { class: "mono hint" }, code) : null,
  );
}

function bar(job) {
  if (FINISHED.has(job.state)) return null;
  const at = job.progress ?? {};
  const words = [
    at.max_epochs ? `epoch ${at.epoch} of ${at.max_epochs}` : at.stage,
    at.steps ? `step ${at.step} of ${at.steps}` : null,
    job.state === "running" && at.eta_s != null ? `about ${left(job)} left` : null,
  ].filter(Boolean);
  if (job.state === "queued") words.push("waits for a slot");
  return progressBar(share(job), job.state, words.join(" · "));
}

function trainedFigures(job) {
  const best = job.best?.metrics ?? {};
  const now = job.metrics ?? {};
  const split = job.config?.early_stopping?.metric?.split("/")[0] ?? "valid";
  const of = (name) => best[`${split}/${name}`] ?? now[`${split}/${name}`] ?? null;
  const first = job.config?.data?.horizons?.[0];
  // The mean over the horizons has no interval: that of the first horizon stands beside its own value.
  const interval = first != null && of(`rank_ic_low@${first}`) != null ? `at ${first} d ${signed(of(`rank_ic@${first}`), 3)} (${signed(of(`rank_ic_low@${first}`), 3)} to ${signed(of(`rank_ic_high@${first}`), 3)})` : "mean over horizons";
  return figures([
    ["Best epoch", job.best?.epoch ?? NONE, job.config?.early_stopping?.metric],
    ["Rank IC", signed(of("rank_ic")), interval],
    ["IC", signed(of("ic")), `ICIR ${number(of("icir"), 2)}`],
    ["Sharpe", number(of("sharpe"), 2), `${number(of("sharpe_net"), 2)} after costs`],
    ["Validation loss", number(of("loss")), `train ${number(now["train/loss"])}`],
    ["Speed", now["sys/samples_per_s"] == null ? NONE : `${number(Math.round(now["sys/samples_per_s"]))}/s`, now["sys/peak_rss_bytes"] == null ? "stock days" : `peak ${bytes(now["sys/peak_rss_bytes"])}`],
    ["Time", duration(elapsed(job.started_at, job.finished_at)), job.finished_at ? `ended ${ago(job.finished_at)}` : job.started_at ? "so far" : "not started"],
  ]);
}

function builtFigures(job) {
  return h("div", { class: "card" }, h("div", { class: "body" }, facts({ stage: place(job), time: duration(elapsed(job.started_at, job.finished_at)), fingerprint: job.dataset_fingerprint })));
}
