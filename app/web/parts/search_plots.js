// What a search has learnt: history, importances, slices, trade-offs.

import { h } from "../dom.js";
import { signed } from "../format.js";
import { chart, colour, series } from "./chart.js";

const STATE_COLOURS = { succeeded: "series-1", pruned: "series-4", running: "series-6", failed: "bad", cancelled: "series-6" };

/** Values by trial, and the best so far. */
export function history({ onOpen }) {
  const one = chart("Optimisation history", { none: "Drawn when the first trial has a value", onClick: onOpen });
  return {
    element: one.element,
    draw(trials, direction) {
      const ended = trials.filter((trial) => trial.value !== null && trial.value !== undefined);
      const better = direction === "minimize" ? Math.min : Math.max;
      const done = ended.filter((trial) => trial.state === "succeeded");
      let best = null;
      const best_so_far = done.map((trial) => (best = best === null ? trial.value : better(best, trial.value)));
      // A colour for each state, not for each trial: plotly.js draws a thousand of one colour quickly.
      const states = [...new Set(ended.map((t) => t.state))].sort();
      const of = (state) => ended.filter((t) => t.state === state);
      one.draw(() => ({
        traces: [
          ...states.map((state) => ({ type: "scatter", mode: "markers", x: of(state).map((t) => t.number), y: of(state).map((t) => t.value), customdata: of(state).map((t) => t.job_id), name: state, marker: { size: 7, color: colour(STATE_COLOURS[state] ?? "series-6", state === "succeeded" ? 0.85 : 0.4) }, hovertemplate: `trial %{x} (${state}): %{y:.4f}<extra></extra>` })),
          { type: "scatter", mode: "lines", line: { shape: "hv", color: series(1), width: 2 }, x: done.map((t) => t.number), y: best_so_far, name: "best so far", hovertemplate: "best %{y:.4f}<extra></extra>" },
        ],
        layout: { xaxis: { title: { text: "trial", font: { size: 11 } }, tickformat: "d", dtick: ended.length > 8 ? undefined : 1, zeroline: false }, hovermode: "closest", showlegend: true },
        words: `${done.length} complete, best ${signed(best)}`,
      }));
    },
  };
}

/** `items`: [[name, share], ...] from the server. */
export function importances() {
  const one = chart("Importance of the parameters", { none: "Known when enough trials are complete" });
  return {
    element: one.element,
    draw(items) {
      const sorted = [...items].sort((a, b) => a[1] - b[1]);
      one.draw(() => ({
        traces: [{ type: "bar", orientation: "h", y: sorted.map(([name]) => name), x: sorted.map(([, share]) => share), marker: { color: colour("series-1", 0.8) }, hovertemplate: "%{x:.1%}<extra></extra>" }],
        layout: { margin: { l: 140, r: 10, t: 8, b: 30 }, xaxis: { tickformat: ".0%", rangemode: "tozero", showgrid: true }, yaxis: { showgrid: false }, hovermode: "closest", bargap: 0.4 },
        words: sorted.length ? `most: ${sorted[sorted.length - 1][0]}` : "",
      }));
    },
  };
}

/** Value against each parameter, one small chart for each. */
export function slices({ onOpen }) {
  const element = h("div", { class: "columns three" });
  const made = new Map();
  return {
    element,
    draw(trials, names, logs) {
      const ended = trials.filter((t) => t.value !== null && t.value !== undefined);
      for (const name of names) {
        if (!made.has(name)) {
          made.set(name, chart(name, { none: "No value yet", onClick: onOpen }));
          element.append(made.get(name).element);
        }
        const at = ended.filter((t) => t.params[name] !== undefined);
        made.get(name).draw(() => ({
          traces: [{ type: "scatter", mode: "markers", x: at.map((t) => plainValue(t.params[name])), y: at.map((t) => t.value), customdata: at.map((t) => t.job_id), text: at.map((t) => t.number), marker: { size: 7, color: at.map((t) => t.number), colorscale: [[0, colour("series-1", 0.25)], [1, colour("series-1")]] }, hovertemplate: "trial %{text}<br>%{x}: %{y:.4f}<extra></extra>" }],
          layout: { hovermode: "closest", xaxis: { type: logs.has(name) ? "log" : typeof at[0]?.params[name] === "number" ? "linear" : "category" } },
          words: `${at.length} trials`,
        }));
      }
    },
  };
}

/** Two measures against each other, with the trials that nothing beats in both. */
export function front(title, { onOpen, extra }) {
  const one = chart(title, { none: "Drawn when two trials are complete", extra, onClick: onOpen });
  return {
    element: one.element,
    /** `points`: [{x, y, name, id}]; `lessX`: whether less of x is better. */
    draw(points, { x, y, lessX, lessY }) {
      const edge = paretoFront(points, lessX, lessY);
      one.draw(() => ({
        traces: [
          { type: "scatter", mode: "markers", x: points.map((p) => p.x), y: points.map((p) => p.y), customdata: points.map((p) => p.id), text: points.map((p) => p.name), name: "trials", marker: { size: 7, color: colour("series-1", 0.45) }, hovertemplate: `%{text}<br>${x} %{x:.4~g}<br>${y} %{y:.4~g}<extra></extra>` },
          { type: "scatter", mode: "lines+markers", x: edge.map((p) => p.x), y: edge.map((p) => p.y), customdata: edge.map((p) => p.id), text: edge.map((p) => p.name), name: "not beaten in both", line: { color: series(1), width: 1.5, dash: "dot" }, marker: { size: 9, color: series(1) }, hovertemplate: "%{text}<extra></extra>" },
        ],
        layout: { hovermode: "closest", showlegend: true, xaxis: { title: { text: x, font: { size: 11 } }, showgrid: true }, yaxis: { title: { text: y, font: { size: 11 } } } },
        words: `${edge.length} of ${points.length} not beaten`,
      }));
    },
  };
}

/** The points that none beats in both; `lessX`, `lessY`: less is better there. */
export function paretoFront(points, lessX, lessY) {
  const up = lessY ? -1 : 1;
  const sorted = [...points].sort((a, b) => (lessX ? a.x - b.x : b.x - a.x) || up * (b.y - a.y));
  const edge = [];
  for (const point of sorted) if (!edge.length || up * point.y > up * edge[edge.length - 1].y) edge.push(point);
  return edge;
}

const plainValue = (value) => (typeof value === "number" ? value : typeof value === "string" ? value : JSON.stringify(value));

