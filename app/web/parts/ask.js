// Questions in a dialog: the browser's own, so focus, Escape and the backdrop are its business.

import { h } from "../dom.js";

/** Ask before something that cannot be undone; true when the person agrees. */
export function confirmed(title, words, yes, { danger = true } = {}) {
  return form(title, [h("p", { class: "hint" }, words)], yes, () => true, danger);
}

/** Show fields and wait: what `read` makes of them, or null when the person leaves. */
export function form(title, content, yes, read, danger = false) {
  return new Promise((resolve) => {
    const fault = h("p", { class: "fault", role: "alert", hidden: true });
    const dialog = h(
      "dialog",
      { "aria-label": title },
      h(
        "form",
        { method: "dialog", novalidate: true, onsubmit: submit },
        h("h2", null, title),
        content,
        fault,
        h("div", { class: "bar" }, h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Leave it"), h("button", { class: danger ? "button danger" : "button first", type: "submit" }, yes)),
      ),
    );
    let answer = null;
    async function submit(event) {
      event.preventDefault();
      try {
        answer = await read();
        dialog.close();
      } catch (problem) {
        fault.hidden = false;
        fault.textContent = problem.errors?.length ? problem.errors.map((e) => `${e.pointer}: ${e.message}`).join("\n") : problem.message;
      }
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
