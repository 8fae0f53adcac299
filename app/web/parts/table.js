// A table of any length: only the rows in sight exist, yet it is a real table for every reader.

import { fill, h } from "../dom.js";

const ROW = 40;
const BEYOND = 12;

/**
 * `columns`: {key, title, value(row), show(row), number, rank ("second", "third": hidden on narrow
 * screens), sort (false = not sortable)}. `id(row)` names a row. `onEnd` is called when the last rows
 * come into sight. Returns {element, rows(list), order(), redraw()}.
 */
export function virtualTable({ columns, id, label, onEnd, order, isChosen, tall = true }) {
  const state = { rows: [], shown: [], key: order?.key ?? null, down: order?.down ?? false };
  const body = h("tbody");
  const heads = columns.map((column) => header(column));
  const table = h("table", { class: "virtual", "aria-label": label, "aria-rowcount": 0 }, h("thead", null, h("tr", null, heads)), body);
  const element = h("div", { class: tall ? "table tall" : "table", tabindex: 0, role: "region", "aria-label": label }, table);
  let drawn = "";

  element.addEventListener("scroll", () => draw(false), { passive: true });
  new ResizeObserver(() => draw(false)).observe(element);

  function header(column) {
    const classes = [column.number ? "number" : "", column.rank ?? ""].join(" ").trim();
    if (column.sort === false) return h("th", { scope: "col", class: classes }, h("span", { class: "plain" }, column.title));
    const button = h("button", { type: "button", onclick: () => sortBy(column) }, column.title, h("span", { "aria-hidden": "true", class: "arrow" }));
    const head = h("th", { scope: "col", class: classes }, button);
    head.column = column;
    return head;
  }

  function sortBy(column) {
    if (state.key === column.key) state.down = !state.down;
    else Object.assign(state, { key: column.key, down: Boolean(column.number) });
    arrange();
  }

  function arrange() {
    for (const head of heads) {
      if (!head.column) continue;
      const is = head.column.key === state.key;
      head.toggleAttribute("aria-sort", is);
      if (is) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      head.querySelector(".arrow").textContent = is ? (state.down ? "↓" : "↑") : "";
    }
    const column = columns.find((one) => one.key === state.key);
    state.shown = column ? sorted(state.rows, column, state.down) : state.rows;
    table.setAttribute("aria-rowcount", state.shown.length + 1);
    draw(true);
  }

  function draw(isForced) {
    const count = state.shown.length;
    const height = element.clientHeight || 600;
    const first = Math.max(0, Math.floor(element.scrollTop / ROW) - BEYOND);
    const end = Math.min(count, Math.ceil((element.scrollTop + height) / ROW) + BEYOND);
    const key = `${first}-${end}-${count}`;
    if (!isForced && key === drawn) return;
    drawn = key;
    const focused = body.contains(document.activeElement) ? placeOf(document.activeElement) : null;
    const rows = [];
    for (let at = first; at < end; at += 1) {
      const row = state.shown[at];
      const cells = columns.map((column, position) =>
        h(position === 0 && column.heads !== false ? "th" : "td", { scope: position === 0 && column.heads !== false ? "row" : undefined, class: [column.number ? "number" : "", column.rank ?? ""].join(" ").trim() || undefined }, column.show ? column.show(row) : column.value(row)),
      );
      rows.push(h("tr", { class: isChosen?.(row) ? "row chosen" : "row", "data-id": id(row), "aria-rowindex": at + 2 }, cells));
    }
    fill(body, gap(first), rows, gap(count - end));
    if (focused) restore(focused);
    if (onEnd && count && end >= count) onEnd();
  }

  function gap(rows) {
    if (rows <= 0) return null;
    const cell = h("td", { colspan: columns.length });
    cell.style.height = `${rows * ROW}px`;
    return h("tr", { class: "gap", "aria-hidden": "true" }, cell);
  }

  function placeOf(node) {
    const row = node.closest("tr");
    const all = row ? [...row.querySelectorAll("a, button, input")] : [];
    return row ? { id: row.dataset.id, at: all.indexOf(node) } : null;
  }

  function restore({ id: name, at }) {
    const row = [...body.children].find((one) => one.dataset.id === name);
    row?.querySelectorAll("a, button, input")[at]?.focus({ preventScroll: true });
  }

  return {
    element,
    rows(list) {
      state.rows = list;
      arrange();
    },
    inSight: () => [...body.querySelectorAll("tr.row")].map((row) => row.dataset.id),
    redraw: () => draw(true),
  };
}

function sorted(rows, column, down) {
  const keyed = rows.map((row, at) => ({ row, at, value: column.value(row) }));
  keyed.sort((a, b) => {
    // What is unknown stands last, whichever way the rest is turned.
    if (a.value == null || b.value == null) return a.value == null ? (b.value == null ? a.at - b.at : 1) : -1;
    const order = a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
    return (down ? -order : order) || a.at - b.at;
  });
  return keyed.map((one) => one.row);
}

/** A short table, all of it at once: `rows` are lists of cells, `numbers` the columns set right. */
export function plainTable(columns, rows, { numbers = [], label } = {}) {
  const right = new Set(numbers);
  return h(
    "div",
    { class: "table", tabindex: 0, role: "region", "aria-label": label ?? "table" },
    h(
      "table",
      null,
      h("thead", null, h("tr", null, columns.map((name, at) => h("th", { scope: "col", class: right.has(at) ? "number" : name ? undefined : "slim" }, name)))),
      h("tbody", null, rows.map((row) => h("tr", null, row.map((cell, at) => h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : undefined, class: right.has(at) ? "number" : undefined }, cell))))),
    ),
  );
}
