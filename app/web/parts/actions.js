// What a person may do with a job, in the states that allow it.

import { post } from "../api.js";
import { h } from "../dom.js";
import { confirmed, form } from "./ask.js";
import { complain, toast } from "./marks.js";

const ALLOWED = {
  cancel: ["queued", "running", "paused"],
  pause: ["queued", "running"],
  resume: ["paused"],
  retry: ["failed", "cancelled"],
};

/** Buttons for one job; `done` is called after each that went well. */
export function actionButtons(job, done) {
  const path = `/v1/jobs/${job.id}`;
  const isAsked = Boolean(job.cancel_requested_at || job.pause_requested_at);

  async function act(verb, words, query) {
    try {
      await post(`${path}/${verb}`, undefined, { query });
      toast(words);
      await done();
    } catch (problem) {
      complain(problem);
    }
  }

  async function cancel() {
    const isForced = Boolean(job.cancel_requested_at);
    const said = isForced
      ? "It has been asked to stop already. Killing it loses what it has learnt since its last checkpoint."
      : job.state === "running"
        ? "It writes a checkpoint and stops. It can be retried later."
        : "It has not started; it leaves the queue.";
    const yes = isForced ? "Kill it" : "Cancel the job";
    if (await confirmed(isForced ? "Kill this job?" : "Cancel this job?", said, yes)) await act("cancel", isForced ? "Killing it" : "Asked it to stop", isForced ? { force: "true" } : undefined);
  }

  async function clone() {
    const made = await form("Clone this job", cloneFields(), "Submit the clone", readClone);
    if (made) location.assign(`/jobs/${made.id}`);
  }

  const name = h("input", { id: "clone-name", value: job.name ? `${job.name} again` : "", maxlength: 200 });
  const overrides = h("textarea", { id: "clone-config", rows: 8, spellcheck: "false" });
  overrides.value = JSON.stringify({ seed: (job.config?.seed ?? 0) + 1 }, null, 2);

  function cloneFields() {
    return [
      h("div", { class: "field" }, h("label", { for: "clone-name" }, "Name"), name),
      h("div", { class: "field" }, h("label", { for: "clone-config" }, "Configuration: only what differs"), overrides, h("span", { class: "help" }, "The rest is taken from this job, whose descendant the new one is recorded to be.")),
    ];
  }

  async function readClone() {
    const body = {};
    if (name.value.trim()) body.name = name.value.trim();
    if (overrides.value.trim()) body.config = JSON.parse(overrides.value);
    return post(`${path}/clone`, body, { create: true });
  }

  const may = (verb) => ALLOWED[verb].includes(job.state);
  return h(
    "div",
    { class: "bar", role: "group", "aria-label": "Actions" },
    may("pause") ? h("button", { class: "button", type: "button", disabled: isAsked, onclick: () => act("pause", "It pauses at its next checkpoint") }, "Pause") : null,
    may("resume") ? h("button", { class: "button first", type: "button", onclick: () => act("resume", "Back in the queue") }, "Resume") : null,
    may("retry") ? h("button", { class: "button first", type: "button", onclick: () => act("retry", "Queued again") }, "Retry") : null,
    job.kind === "train" ? h("button", { class: "button", type: "button", onclick: clone }, "Clone") : null,
    may("cancel") ? h("button", { class: "button danger", type: "button", onclick: cancel }, job.cancel_requested_at ? "Kill" : "Cancel") : null,
  );
}
