// The workers and what runs in their slots, on one strip.

import { h } from "../dom.js";
import { ago, percent } from "../format.js";

/** `jobs`: what is known by id, to name what runs. Workers that are long gone are left out. */
export function workerStrip(workers, jobs) {
  const alive = workers.filter((one) => one.is_alive);
  const lost = workers.filter((one) => !one.is_alive && !one.stopped_at && Date.now() - Date.parse(one.heartbeat_at) < 3_600_000);
  const slots = alive.reduce((sum, one) => sum + one.slots, 0);
  const busy = alive.reduce((sum, one) => sum + one.current.length, 0);
  if (!alive.length && !lost.length)
    return h("div", { class: "notice warn", role: "status" }, h("strong", null, "No worker"), h("span", null, "Jobs are kept and wait. Start one with ", h("code", null, "gogooku3 worker"), ", or everything with ", h("code", null, "gogooku3 up"), "."));
  const head = h("header", null, h("h2", null, "Workers"), h("span", { class: "hint" }, `${busy} of ${slots} slot${slots === 1 ? "" : "s"} busy`));
  return h("section", { class: "card" }, head, h("div", { class: "body" }, h("div", { class: "workers" }, [...alive, ...lost].map((one) => worker(one, jobs)))));
}

function worker(one, jobs) {
  const taken = new Map(one.current.map((run) => [run.slot, run]));
  const slots = Array.from({ length: one.slots }, (_, at) => {
    const run = taken.get(at);
    if (!run) return h("span", { class: "slot" }, "free");
    const name = jobs.get(run.job_id)?.name ?? run.job_id;
    return h("a", { class: "slot", href: `/jobs/${run.job_id}`, title: `${name}, attempt ${run.attempt}` }, name);
  });
  const used = one.utilisation.gpu ?? one.utilisation.cpu;
  const facts = [one.device, used == null ? null : `${percent(used)} busy`, one.is_alive ? null : `silent since ${ago(one.heartbeat_at)}`].filter(Boolean);
  return h("div", { class: one.is_alive ? "worker" : "worker gone" }, h("div", { class: "bar apart" }, h("strong", { title: one.id }, `${one.host}:${one.pid}`), h("span", { class: "hint" }, facts.join(" · "))), h("div", { class: "slots" }, slots));
}
