// Small marks that many pages share: states, bars, sparklines, labels, notices.

import { h, svg } from "../dom.js";
import { NONE, duration, number, percent } from "../format.js";

const SHAPES = {
  queued: () => svg("circle", { cx: 5, cy: 5, r: 3.5, fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-dasharray": "2 1.6" }),
  running: () => svg("path", { d: "M2 1.2 9 5 2 8.8Z", fill: "currentColor" }),
  paused: () => svg("path", { d: "M2 1h2.2v8H2zM5.8 1H8v8H5.8z", fill: "currentColor" }),
  succeeded: () => svg("path", { d: "M1.5 5.4 4 8l4.6-6", fill: "none", stroke: "currentColor", "stroke-width": 1.8 }),
  failed: () => svg("path", { d: "M2 2l6 6M8 2 2 8", fill: "none", stroke: "currentColor", "stroke-width": 1.8 }),
  cancelled: () => svg("rect", { x: 2, y: 2, width: 6, height: 6, fill: "currentColor" }),
  pruned: () => svg("path", { d: "M1 5h8M5 5 8 8", fill: "none", stroke: "currentColor", "stroke-width": 1.6 }),
};

export const STATES = Object.keys(SHAPES);
export const FINISHED = new Set(["succeeded", "failed", "cancelled", "pruned"]);

/** A state as a badge; what has been asked for but not happened yet is said, too. */
export function badge(state, asked) {
  const words = asked && !FINISHED.has(state) ? `${state}, ${asked}` : state;
  const shape = (SHAPES[state] ?? SHAPES.queued)();
  return h("span", { class: `badge ${state}` }, svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, shape), words);
}

/** What was asked of a job that still goes on. */
export function askedOf(job) {
  if (job.cancel_requested_at) return "stopping";
  return job.pause_requested_at ? "pausing" : null;
}

/** How far a job is, from 0 to 1; null where nothing is known. */
export function share(job) {
  if (job.state === "succeeded") return 1;
  const at = job.progress;
  if (!at) return null;
  if (at.share !== null && at.share !== undefined) return at.share;
  if (!at.max_epochs) return null;
  const within = at.steps ? (at.step ?? 0) / at.steps : 0;
  return Math.min(1, Math.max(0, (at.epoch - 1 + within) / at.max_epochs));
}

/** The epoch, or the stage of a build, in words. */
export function place(job) {
  const at = job.progress;
  if (!at) return job.state === "queued" ? "waits" : NONE;
  if (at.stage) return at.stage;
  return at.max_epochs ? `${at.epoch}/${at.max_epochs}` : NONE;
}

export function progressBar(part, state, words) {
  const label = part === null ? "not begun" : percent(part);
  return h(
    "div",
    { class: `progress ${state}` },
    h(
      "div",
      { class: "track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": part === null ? undefined : Math.round(part * 100), "aria-label": `progress: ${label}` },
      svg("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { width: (part ?? 0) * 100, height: 6 })),
    ),
    words === undefined ? null : h("span", { class: "words" }, words),
  );
}

export function left(job) {
  return job.state === "running" && job.progress?.eta_s != null ? duration(job.progress.eta_s) : NONE;
}

/** A line of a metric over the epochs; zero is dashed where it lies within. */
export function sparkline(points, name) {
  const values = points.map((p) => p.value).filter((v) => v !== null);
  if (!values.length) return h("span", { class: "hint" }, NONE);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const span = high - low || Math.abs(high) || 1;
  const first = points[0].step;
  const steps = points[points.length - 1].step - first || 1;
  const x = (step) => 2 + (92 * (step - first)) / steps;
  const y = (value) => 21 - (18 * (value - low)) / span;
  const line = points.filter((p) => p.value !== null);
  const last = line[line.length - 1];
  const title = `${name}: ${number(values[0])} to ${number(values[values.length - 1])} over ${values.length} epochs`;
  return svg(
    "svg",
    { class: "spark", viewBox: "0 0 96 24", role: "img", "aria-label": title },
    svg("title", null, title),
    low < 0 && high > 0 ? svg("line", { x1: 0, x2: 96, y1: y(0), y2: y(0) }) : null,
    line.length > 1 ? svg("polyline", { points: line.map((p) => `${x(p.step).toFixed(1)},${y(p.value).toFixed(1)}`).join(" ") }) : null,
    svg("circle", { cx: line.length > 1 ? x(last.step) : 48, cy: line.length > 1 ? y(last.value) : 12, r: 2 }),
  );
}

export function labels(given) {
  return Object.entries(given ?? {}).map(([name, value]) => h("span", { class: "tag", title: `${name}: ${value}` }, `${name}: ${value}`));
}

/** Text in which `this` is code. */
export function rich(words) {
  return words.split("`").map((piece, at) => (at % 2 ? h("code", null, piece) : piece));
}

/** Nothing here yet, and what to do about it. */
export function empty(title, words, ...more) {
  return h("div", { class: "empty" }, h("strong", null, title), words ? h("p", null, words) : null, more);
}

/** What stands here until the first answer is there. */
export function bones(lines = 6) {
  return h("div", { class: "bones", role: "status", "aria-label": "Loading" }, Array.from({ length: lines }, () => h("span")));
}

/** An error where the content would be, with the request's id for whoever looks into it. */
export function fault(problem, again) {
  return h(
    "div",
    { class: "notice bad", role: "alert" },
    h("strong", null, problem.status === 404 ? "There is no such thing" : "This could not be loaded"),
    h("span", null, problem.message),
    problem.requestId ? h("small", { class: "mono hint" }, `request ${problem.requestId}`) : null,
    problem.status === 404 ? h("div", null, h("a", { class: "button", href: "/" }, "All jobs")) : again ? h("div", null, h("button", { class: "button", type: "button", onclick: again }, "Try again")) : null,
  );
}

/** A short message in the corner; errors stay longer. */
export function toast(words, small) {
  const note = h("div", { class: "toast" }, words, small ? h("small", null, small) : null);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), small ? 12_000 : 5000);
}

export function complain(problem) {
  if (problem.name === "AbortError") return;
  const faults = (problem.errors ?? []).map((e) => `${e.pointer}: ${e.message}`).join("; ");
  toast(faults || problem.message, problem.requestId ? `request ${problem.requestId}` : problem.code);
}

/** A card with a heading; `extra` stands to its right. */
export function card(title, content, extra) {
  return h("section", { class: "card", "aria-label": title }, h("header", null, h("h2", null, title), extra ?? null), content);
}

export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    Object.entries(pairs)
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
}

/** Numbers that stand out: `[[name, value, what it rests on], ...]`. */
export function figures(items) {
  return h(
    "dl",
    { class: "figures" },
    items.map(([name, value, small]) => h("div", null, h("dt", { title: name }, name), h("dd", null, value, small ? h("small", { title: typeof small === "string" ? small : undefined }, small) : null))),
  );
}
