// Tabs as the ARIA practices describe them: arrows move, one panel is shown, made when first needed.

import { fill, h } from "../dom.js";

let count = 0;

/** `panels`: [{key, title, make() -> node, shown?(node)}]. Returns {element, select(key), current()}. */
export function tabs(panels, { label, first } = {}) {
  const group = (count += 1);
  const made = new Map();
  const panel = h("div", { role: "tabpanel", id: `panel-${group}`, tabindex: -1 });
  const buttons = panels.map((one) =>
    h("button", { type: "button", role: "tab", id: `tab-${group}-${one.key}`, "aria-controls": panel.id, "aria-selected": "false", onclick: () => select(one.key), onkeydown: move }, one.title),
  );
  let current = null;

  function select(key) {
    const at = Math.max(0, panels.findIndex((one) => one.key === key));
    current = panels[at];
    buttons.forEach((button, position) => {
      button.setAttribute("aria-selected", String(position === at));
      button.tabIndex = position === at ? 0 : -1;
    });
    if (!made.has(current.key)) made.set(current.key, current.make());
    panel.setAttribute("aria-labelledby", buttons[at].id);
    fill(panel, made.get(current.key));
    current.shown?.();
  }

  function move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = (buttons.indexOf(event.target) + step + buttons.length) % buttons.length;
    select(panels[at].key);
    buttons[at].focus();
  }

  const element = h("section", { class: "card" }, h("div", { class: "tabs", role: "tablist", "aria-label": label }, buttons), panel);
  select(first ?? panels[0].key);
  return { element, select, current: () => current.key };
}

/** A few buttons of which one is pressed. */
export function choice(options, chosen, onChoose, label) {
  const buttons = options.map(([value, words]) =>
    h("button", { type: "button", "aria-pressed": String(value === chosen), onclick: () => choose(value) }, words),
  );
  function choose(value) {
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(options[at][0] === value)));
    onChoose(value);
  }
  return h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}
