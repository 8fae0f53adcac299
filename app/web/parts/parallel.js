// Parallel coordinates of a sweep's trials, in SVG: plotly.js draws its own by code made at run
// time, which the pages' policy forbids. Drag along an axis to keep only the trials within.

import { fill, h, svg } from "../dom.js";
import { number } from "../format.js";

const HEIGHT = 300;
const TOP = 34;
const BOTTOM = 14;
const GAP = 118;

/** `axes`: [{name, value(trial), log}]; the last is the objective, which colours the lines. */
export function parallel(title, { onKeep, onOpen } = {}) {
  const holder = h("div", { class: "table", tabindex: 0, role: "region", "aria-label": title });
  const hint = h("span", { class: "hint" }, "Drag along an axis to keep trials; click an axis to let go");
  const element = h("figure", { class: "card chart" }, h("figcaption", null, h("h3", null, title), hint), holder);
  const kept = new Map();
  let axes = [];
  let trials = [];
  let scales = [];

  function draw(nextAxes = axes, nextTrials = trials) {
    axes = nextAxes;
    trials = nextTrials;
    if (axes.length < 2 || !trials.length) {
      fill(holder, h("div", { class: "none" }, "Drawn when the first trial has a value"));
      return;
    }
    const width = Math.max(holder.clientWidth, GAP * (axes.length - 1) + 160);
    scales = axes.map((axis) => scale(axis, trials));
    const x = (at) => 70 + ((width - 150) * at) / (axes.length - 1);
    const goal = scales[scales.length - 1];
    const order = [...trials].sort((a, b) => goal.share(a) - goal.share(b));
    const lines = order.map((trial) => {
      const points = scales.map((one, at) => [x(at), one.y(trial)]).filter(([, y]) => y !== null);
      const is = holds(trial);
      const path = svg("path", { d: `M${points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join("L")}`, class: is ? "line" : "line off", "data-trial": trial.number }, svg("title", null, `trial ${trial.number}: ${number(axes[axes.length - 1].value(trial))}`));
      if (is) path.style.strokeOpacity = String(0.18 + 0.72 * goal.share(trial) ** 2);
      if (onOpen) path.addEventListener("click", () => onOpen(trial));
      return path;
    });
    const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, class: "parallel", role: "img", "aria-label": `${title}: ${trials.length} trials over ${axes.length} axes` }, lines, scales.map((one, at) => axisOf(one, axes[at], x(at))));
    picture.style.minWidth = `${width}px`;
    fill(holder, picture);
  }

  function holds(trial) {
    return [...kept].every(([name, [low, high]]) => {
      const at = axes.findIndex((axis) => axis.name === name);
      const share = at < 0 ? null : scales[at].share(trial);
      return share !== null && share >= low && share <= high;
    });
  }

  function axisOf(one, axis, x) {
    const range = kept.get(axis.name);
    const band = range ? svg("rect", { class: "band", x: x - 8, width: 16, y: one.at(range[1]), height: Math.max(2, one.at(range[0]) - one.at(range[1])) }) : null;
    const grip = svg("rect", { class: "grip", x: x - 16, width: 32, y: TOP - 8, height: HEIGHT - TOP - BOTTOM + 16 });
    grip.addEventListener("pointerdown", (event) => brush(event, grip, one, axis));
    const words = axis.name.length > 22 ? `…${axis.name.slice(-21)}` : axis.name;
    return svg(
      "g",
      null,
      svg("line", { class: "axis", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
      svg("text", { class: "title", x, y: 13, "text-anchor": "middle" }, words, svg("title", null, axis.name)),
      one.ticks.map(([share, label]) => svg("text", { class: "tick", x: x + 6, y: one.at(share) + 4 }, label)),
      band,
      grip,
    );
  }

  function brush(event, grip, one, axis) {
    event.preventDefault();
    grip.setPointerCapture(event.pointerId);
    const from = shareAt(event, grip, one);
    let to = from;
    grip.onpointermove = (moved) => (to = shareAt(moved, grip, one));
    grip.onpointerup = () => {
      grip.onpointermove = grip.onpointerup = null;
      if (Math.abs(to - from) < 0.02) kept.delete(axis.name);
      else kept.set(axis.name, [Math.min(from, to), Math.max(from, to)]);
      draw();
      onKeep?.(kept.size ? holds : null);
    };
  }

  function shareAt(event, grip, one) {
    const picture = grip.ownerSVGElement;
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    return Math.min(1, Math.max(0, one.shareOf(point.y)));
  }

  return { element, draw };
}

/** How an axis maps values to places: numbers by size (or its logarithm), words by turns. */
function scale(axis, trials) {
  const values = trials.map(axis.value).filter((v) => v !== null && v !== undefined);
  const isNumeric = values.length > 0 && values.every((v) => typeof v === "number");
  const at = (share) => HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
  const shareOf = (y) => (HEIGHT - BOTTOM - y) / (HEIGHT - TOP - BOTTOM);
  let share;
  let ticks;
  if (isNumeric) {
    const bend = axis.log && values.every((v) => v > 0) ? Math.log : (v) => v;
    const low = bend(Math.min(...values));
    const high = bend(Math.max(...values));
    share = (v) => (high === low ? 0.5 : (bend(v) - low) / (high - low));
    const middle = axis.log ? Math.exp((low + high) / 2) : (low + high) / 2;
    ticks = high === low ? [[0.5, number(values[0])]] : [[0, number(Math.min(...values))], [0.5, number(middle)], [1, number(Math.max(...values))]];
  } else {
    const names = [...new Set(values.map(String))].sort();
    share = (v) => (names.length < 2 ? 0.5 : names.indexOf(String(v)) / (names.length - 1));
    ticks = names.slice(0, 12).map((name) => [share(name), name.length > 14 ? `${name.slice(0, 13)}…` : name]);
  }
  const of = (trial) => {
    const value = axis.value(trial);
    return value === null || value === undefined ? null : share(value);
  };
  return { at, shareOf, ticks, share: of, y: (trial) => (of(trial) === null ? null : at(of(trial))) };
}
