// What is kept of a job: configuration, checkpoints, attempts, events, provenance.

import { download, get } from "../api.js";
import { fill, h } from "../dom.js";
import { NONE, bytes, duration, elapsed, flat, moment, number, plain, signed } from "../format.js";
import { badge, bones, complain, empty, facts, fault } from "./marks.js";
import { plainTable } from "./table.js";

/** A panel that asks for its data whenever it comes into sight. */
function asked(path, signal, draw) {
  const holder = h("div", null, bones(4));
  return {
    make: () => holder,
    shown: () =>
      get(path, undefined, { signal })
        .then((answer) => fill(holder, draw(answer.items)))
        .catch((problem) => problem.name === "AbortError" || fill(holder, fault(problem))),
  };
}

export function checkpoints(path, signal) {
  return asked(`${path}/checkpoints`, signal, (items) =>
    items.length
      ? plainTable(
          ["Epoch", "Rank IC", "Loss", "Size", "SHA-256", "Written", ""],
          items.map((one) => [
            h("span", { class: "bar" }, String(one.epoch), one.is_best ? h("span", { class: "badge succeeded" }, "best") : null),
            signed(one.metrics["valid/rank_ic"]),
            number(one.metrics["valid/loss"]),
            bytes(one.size),
            h("code", { title: one.sha256 }, `${one.sha256.slice(0, 12)}…`),
            moment(one.created_at),
            h("button", { class: "button", type: "button", onclick: () => fetchOne(one) }, "Download"),
          ]),
          { numbers: [1, 2, 3], label: "Checkpoints" },
        )
      : empty("No checkpoint yet", "The first is written at the end of the first epoch."),
  );
}

function fetchOne(one) {
  const name = `${one.job_id}-epoch-${String(one.epoch).padStart(4, "0")}.gk3`;
  download(`/v1/checkpoints/${one.id}/content`, name).catch(complain);
}

export function attempts(path, signal) {
  return asked(`${path}/attempts`, signal, (items) =>
    items.length
      ? plainTable(
          ["Attempt", "Outcome", "Worker", "Started", "Lasted", "Last epoch", "Rejected writes", "Why"],
          items.map((one) => [
            String(one.number),
            one.outcome ? badge(one.outcome) : badge("running"),
            h("code", { title: one.worker_id }, `${one.worker_id}, slot ${one.slot}`),
            moment(one.started_at),
            duration(elapsed(one.started_at, one.ended_at)),
            one.last_epoch ?? NONE,
            String(one.stale_writes),
            h("span", { class: "why" }, one.reason?.message ?? NONE),
          ]),
          { numbers: [5, 6], label: "Attempts" },
        )
      : empty("Not started yet", "A worker takes the job when a slot is free."),
  );
}

/** The effective configuration, each value with where it came from. */
export function configuration(job) {
  const sources = job.config_sources ?? {};
  const values = Object.entries(flat(job.config ?? {}));
  const find = h("input", { type: "search", placeholder: "Find a key or value", "aria-label": "Find a key or value", oninput: () => draw() });
  const only = h("input", { type: "checkbox", onchange: () => draw() });
  const holder = h("div");
  const copy = h("button", { class: "button", type: "button", onclick: () => navigator.clipboard.writeText(JSON.stringify(job.config, null, 2)).then(() => (copy.textContent = "Copied"), complain) }, "Copy as JSON");

  function draw() {
    const words = find.value.trim().toLowerCase();
    const rows = values
      .map(([name, value]) => [name, plain(value), sourceOf(sources, name)])
      .filter(([name, value, source]) => (!only.checked || source !== "default") && (!words || `${name} ${value}`.toLowerCase().includes(words)));
    fill(holder, rows.length ? plainTable(["Key", "Value", "Source"], rows.map(([name, value, source]) => [h("code", null, name), h("code", { class: "value" }, value), h("span", { class: `tag ${source}` }, source)]), { label: "Effective configuration" }) : empty("Nothing fits", ""));
  }
  draw();
  return h("div", null, h("div", { class: "bar apart logbar" }, h("div", { class: "bar" }, find, h("label", { class: "hint" }, only, " only what was set")), copy), holder);
}

/** The nearest path upwards that has a source. */
function sourceOf(sources, name) {
  for (let at = name; at; at = at.includes(".") ? at.slice(0, at.lastIndexOf(".")) : "") if (sources[at]) return sources[at];
  return "default";
}

export function events(state) {
  const holder = h("div");
  return {
    make: () => holder,
    shown: () => {
      const shown = state.events.filter((event) => event.type !== "progress").slice(-300).reverse();
      fill(holder, shown.length ? plainTable(["Seq", "Time", "Type", "Attempt", "What"], shown.map((event) => [String(event.seq), moment(event.at), h("span", { class: "tag" }, event.type), String(event.attempt), h("code", { class: "what", title: JSON.stringify(event.payload) }, brief(event))]), { numbers: [0, 3], label: "Events" }) : empty("No event yet", ""));
    },
  };
}

function brief({ type, payload }) {
  if (type === "state") return [payload.from, payload.state].filter(Boolean).join(" → ") + (payload.reason?.message ? `: ${payload.reason.message}` : "");
  if (type === "epoch") return `epoch ${payload.epoch}: rank IC ${signed(payload.metrics["valid/rank_ic"])}, loss ${number(payload.metrics["train/loss"])}, ${duration(payload.duration_s)}`;
  if (type === "checkpoint") return `epoch ${payload.epoch}, ${bytes(payload.size)}${payload.is_best ? ", best so far" : ""}`;
  if (payload.message) return payload.message;
  return JSON.stringify(payload).slice(0, 160);
}

export function provenance(job) {
  const found = Object.entries(flat(job.provenance ?? {}));
  if (!found.length) return empty("Not known yet", "The trainer reports what it runs on when it starts.");
  return h("div", { class: "body padded" }, facts({ dataset_fingerprint: h("code", null, job.dataset_fingerprint ?? NONE), ...Object.fromEntries(found.map(([name, value]) => [name, h("code", null, plain(value))])) }));
}
