// Charts by plotly.js, loaded when the first one is needed, in the page's own colours.

import { fill, h } from "../dom.js";
import { NONE, number } from "../format.js";

const FILES = new URL("..", import.meta.url);
const STYLES = ["plotly.js-style-global", "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53"];
const shown = new Set();
const colours = new Map();
let loading = null;

function plotly() {
  loading ??= new Promise((resolve, reject) => {
    // plotly.js would put two sets of rules into the document, which the policy forbids, unless it
    // finds them there: of its own parts.css has what these pages need, its maps are not used.
    const markers = STYLES.map((id) => h("meta", { id, class: "no-inline-styles" }));
    const script = h("script", { src: new URL("plotly.js", FILES).href, onload: () => resolve(window.Plotly), onerror: () => reject(new Error("The charts could not be loaded.")) });
    document.head.append(...markers, script);
  });
  return loading;
}

/** A colour of the design as plotly.js wants it. */
export function colour(name, alpha) {
  // Kept until the theme changes: to ask for one makes the browser work out every style.
  if (!colours.has(name)) {
    const probe = h("span");
    probe.style.color = `var(--${name})`;
    probe.hidden = true;
    document.body.append(probe);
    colours.set(name, getComputedStyle(probe).color);
    probe.remove();
  }
  const found = colours.get(name);
  if (alpha === undefined) return found;
  const [r, g, b] = found.match(/[\d.]+/g);
  return `rgba(${r},${g},${b},${alpha})`;
}

export const seriesName = (at) => `series-${(at % 6) + 1}`;
export const series = (at) => colour(seriesName(at));

function layoutOf(given) {
  const soft = colour("soft");
  const line = colour("line");
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: colour("line-strong"), zerolinewidth: 1, tickfont: { size: 11 }, automargin: true, exponentformat: "e", fixedrange: false };
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: soft };
  return {
    font,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 48, r: 10, t: 8, b: 30 },
    showlegend: false,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("card"), bordercolor: line, font: { color: colour("ink"), family: font.family, size: 12 } },
    dragmode: "zoom",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: colour("ink") },
    ...given,
    xaxis: { ...axis, showgrid: false, ...given?.xaxis },
    yaxis: { ...axis, ...given?.yaxis },
  };
}

// Named one by one: plotly.js also offers to share a chart by sending it elsewhere.
const BUTTONS = [["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
const CONFIG = { displaylogo: false, responsive: true, modeBarButtons: BUTTONS, doubleClick: "reset+autosize" };

// Charts are drawn when they come into sight or close to it, one at a time, and between two of them
// the page answers: all at once, those of a thousand trials keep it from doing so for seconds.
const due = new Set();
let isDrawing = false;

async function drawDue() {
  if (isDrawing) return;
  isDrawing = true;
  for (const one of due) {
    due.delete(one);
    await one();
    await new Promise((resolve) => setTimeout(resolve));
  }
  isDrawing = false;
}

const looks = new WeakMap();
const sight = new IntersectionObserver((seen) => seen.forEach((one) => looks.get(one.target)(one.isIntersecting)), { rootMargin: "60% 0%" });

/**
 * A figure with its title, a line of words for those who cannot see it, and the plot.
 * `draw(make)`: make() -> {traces, layout, words} or null when there is nothing to draw yet.
 */
export function chart(title, { none = "Nothing to draw yet", high = false, extra, onClick } = {}) {
  const plot = h("div", { class: high ? "plot high" : "plot" });
  const nothing = h("div", { class: high ? "none high" : "none" }, none);
  const words = h("span", { class: "hint" });
  const element = h("figure", { class: "card chart" }, h("figcaption", null, h("h3", null, title), extra ?? words), nothing, plot);
  plot.hidden = true;
  let make = null;
  let made = null;
  let isInSight = false;
  let isOld = false;
  let isListening = false;

  looks.set(element, (is) => {
    isInSight = is;
    if (isOld) soon();
  });
  sight.observe(element);

  function draw(next) {
    make = next ?? make;
    made = make?.();
    const has = Boolean(made?.traces?.some((trace) => (trace.y ?? trace.x ?? trace.values ?? []).length));
    words.textContent = has ? (made.words ?? "") : "";
    isOld = has;
    if (!has) {
      plot.hidden = true;
      nothing.hidden = false;
      return;
    }
    shown.add(redraw);
    if (plot.hidden) fill(nothing, "Loading the chart");
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-label", `${title}. ${made.words ?? ""}`);
    soon();
  }

  function soon() {
    if (!isInSight) return;
    due.add(paint);
    drawDue();
  }

  async function paint() {
    if (!isOld) return;
    try {
      const library = await plotly();
      if (!isOld) return;
      isOld = false;
      nothing.hidden = true;
      plot.hidden = false;
      await library.react(plot, made.traces, layoutOf(made.layout), CONFIG);
    } catch (error) {
      console.error(error);
      plot.hidden = true;
      nothing.hidden = false;
      fill(nothing, error.message);
      return;
    }
    fill(nothing, none);
    if (onClick && !isListening) {
      isListening = true;
      plot.on("plotly_click", (event) => onClick(event.points[0]));
    }
  }

  const redraw = () => (element.isConnected ? draw() : shown.delete(redraw));
  return { element, draw };
}

/** Draw every chart again: the colours have changed. */
export function recolour() {
  colours.clear();
  for (const redraw of [...shown]) redraw();
}
addEventListener("theme", recolour);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);

/** A line over the epochs; null stays a gap. */
export function line(points, name, at, more) {
  return {
    type: "scatter",
    mode: points.length > 40 ? "lines" : "lines+markers",
    x: points.map((p) => p.step),
    y: points.map((p) => p.value),
    name,
    line: { color: series(at), width: 2 },
    marker: { size: 5 },
    hovertemplate: "%{y:.5~g}",
    connectgaps: false,
    ...more,
  };
}

/** The axis of epochs, whole numbers only. */
export function epochs(...lists) {
  const last = Math.max(1, ...lists.flat().map((point) => point.step));
  return { title: { text: "epoch", font: { size: 11 } }, range: [last > 30 ? 0 : 0.7, last + (last > 30 ? last / 50 : 0.3)], tickformat: "d", dtick: Math.max(1, Math.ceil(last / 8)), tick0: last > 8 ? 0 : 1 };
}

/** Room around values that are all the same, which would otherwise get an axis from -1 to 1. */
export function roomy(...lists) {
  const values = lists.flat().map((point) => point.value).filter((value) => value !== null);
  if (!values.length || Math.max(...values) !== Math.min(...values)) return {};
  const pad = Math.abs(values[0]) * 0.25 || 0.1;
  return { range: [values[0] - pad, values[0] + pad] };
}

/** The last and the best value in words. */
export function lastAndBest(points, isHigherBetter = true) {
  const known = points.filter((p) => p.value !== null);
  if (!known.length) return "undefined so far";
  const better = (a, b) => (isHigherBetter ? a.value > b.value : a.value < b.value);
  const best = known.reduce((a, b) => (better(b, a) ? b : a));
  return `last ${number(known[known.length - 1].value)}, best ${number(best.value)} at epoch ${best.step ?? NONE}`;
}
