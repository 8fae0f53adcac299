// `/queue`: what waits, why, until when, and moving it.

import { all, get, post } from "../api.js";
import { fill, h } from "../dom.js";
import { NONE, ago, duration, moment, number } from "../format.js";
import { poll } from "../live.js";
import { badge, bones, complain, empty, fault, figures, toast } from "../parts/marks.js";
import { plainTable } from "../parts/table.js";
import { workerStrip } from "../parts/workers.js";

const MOST = 200;
const COLUMNS = ["#", "Job", "Why it waits", "Begins in", "Will take", "Priority", "Since", "Move"];

export async function show(main, { signal, title }) {
  title("Queue");
  const numbers = h("div");
  const strip = h("div");
  const holder = h("div", null, bones());
  fill(main, h("div", { class: "stack" }, h("h1", null, "Queue"), numbers, strip, h("section", { class: "card", "aria-label": "What waits" }, holder)));
  let queue = null;

  function draw() {
    const waiting = queue.items.filter((one) => one.position !== null);
    const next = waiting.find((one) => one.starts_in_s !== null);
    fill(
      numbers,
      figures([
        ["Waiting", number(queue.queued), queue.queued > waiting.length ? `the first ${waiting.length} are shown` : "in the order in which they are taken"],
        ["Running", number(queue.running), "hold a slot now"],
        ["Paused", number(queue.paused), "put aside by somebody"],
        ["Next begins in", next ? duration(next.starts_in_s) : NONE, next ? (next.name ?? next.job_id) : "nothing to tell it by"],
      ]),
    );
    if (!queue.items.length) {
      fill(holder, empty("Nothing waits", queue.running ? "Every job that was submitted runs or has ended." : "A job that is submitted now begins at once.", h("a", { class: "button first", href: "/submit" }, "Submit a job")));
      return;
    }
    const focused = document.activeElement?.dataset?.move;
    fill(holder, plainTable(COLUMNS, queue.items.map((one, at) => row(one, at, waiting)), { numbers: [3, 4, 5, 6], label: "What waits" }));
    if (focused) holder.querySelector(`[data-move="${focused}"]`)?.focus();
  }

  function row(one, at, waiting) {
    const link = h("span", { class: "name" }, h("a", { href: `/jobs/${one.job_id}` }, one.name ?? (one.kind === "dataset" ? `build of ${one.dataset}` : "unnamed")), h("small", null, one.job_id));
    const why = h("span", { class: "why" }, one.reason.message, one.reason.until ? ` Until ${moment(one.reason.until)}.` : null);
    return [
      one.position === null ? badge("paused") : String(one.position),
      link,
      why,
      one.starts_in_s === null ? NONE : duration(one.starts_in_s),
      one.expected_s === null ? NONE : duration(one.expected_s),
      number(one.priority),
      h("time", { datetime: one.queued_at, title: moment(one.queued_at) }, ago(one.queued_at)),
      one.position === null ? resume(one) : moves(one, at, waiting),
    ];
  }

  function moves(one, at, waiting) {
    const button = (words, name, body, isOff) => h("button", { class: "button icon", type: "button", disabled: isOff, title: words, "aria-label": `${words}: ${one.name ?? one.job_id}`, "data-move": `${one.job_id} ${name}`, onclick: () => act(() => post("/v1/queue/move", { job: one.job_id, ...body })) }, { front: "⤒", up: "↑", down: "↓" }[name]);
    return h(
      "span",
      { class: "bar tight" },
      button("To the front", "front", { front: true }, at === 0),
      button("Earlier", "up", { before: waiting[at - 1]?.job_id }, at === 0),
      button("Later", "down", { after: waiting[at + 1]?.job_id }, at >= waiting.length - 1),
    );
  }

  function resume(one) {
    return h("button", { class: "button", type: "button", onclick: () => act(() => post(`/v1/jobs/${one.job_id}/resume`)) }, "Resume");
  }

  async function act(make) {
    try {
      await make();
      toast("Moved");
      await refresh();
    } catch (problem) {
      complain(problem);
    }
  }

  async function refresh() {
    const [next, workers, running] = await Promise.all([get("/v1/queue", { limit: MOST }, { signal }), get("/v1/workers", undefined, { signal }), all("/v1/jobs", { state: "running" }, { most: 200, signal })]);
    fill(strip, workerStrip(workers.items, new Map(running.items.map((job) => [job.id, job]))));
    if (next === queue) return;
    queue = next;
    draw();
  }

  await poll(refresh, { every: 2500, signal, onProblem: (problem) => !queue && fill(holder, fault(problem)) });
}
