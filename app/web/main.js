// The document's script: the header, the person's key, and the page that the address names.

import { get, key } from "./api.js";
import { fill, h, svg } from "./dom.js";
import { bones, fault } from "./parts/marks.js";

const FILES = new URL(".", import.meta.url);
const LINKS = [
  ["/", "Jobs"],
  ["/sweeps", "Sweeps"],
  ["/datasets", "Datasets"],
  ["/queue", "Queue"],
  ["/submit", "Submit"],
  ["/docs", "API"],
];
const ROUTES = [
  [/^\/$/, "overview"],
  [/^\/jobs\/([^/]+)$/, "job"],
  [/^\/sweeps$/, "sweeps"],
  [/^\/sweeps\/([^/]+)$/, "sweep"],
  [/^\/datasets$/, "datasets"],
  [/^\/datasets\/([^/]+)$/, "dataset"],
  [/^\/compare$/, "compare"],
  [/^\/queue$/, "queue"],
  [/^\/submit$/, "submit"],
  [/^\/docs$/, "docs"],
];
const MOODS = { on: "live", polling: "polling", lost: "not connected" };

const main = document.getElementById("main");

function header() {
  const at = location.pathname;
  const isHere = (to) => (to === "/" ? at === "/" || at.startsWith("/jobs/") : at.startsWith(to));
  const live = h("span", { class: "live", role: "status" }, "");
  addEventListener("mood", (event) => {
    live.className = `live ${event.detail}`;
    if (live.textContent !== MOODS[event.detail]) live.textContent = MOODS[event.detail];
  });
  fill(
    document.getElementById("top"),
    h("a", { class: "brand", href: "/" }, h("img", { src: new URL("mark.svg", FILES).href, alt: "", width: 22, height: 22 }), "gogooku3"),
    h("nav", { "aria-label": "Pages" }, h("ul", null, LINKS.map(([to, words]) => h("li", null, h("a", { href: to, "aria-current": isHere(to) ? "page" : undefined }, words))))),
    h("div", { class: "right" }, live, themeButton(), keyButton()),
  );
}

function themeButton() {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const turn = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    dispatchEvent(new CustomEvent("theme"));
  };
  const moon = svg("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, svg("path", { d: "M8 1.5a6.5 6.5 0 1 0 0 13z", fill: "currentColor" }), svg("circle", { cx: 8, cy: 8, r: 6.3, fill: "none", stroke: "currentColor", "stroke-width": 1.4 }));
  return h("button", { class: "button icon", type: "button", onclick: turn, "aria-label": "Switch between light and dark", title: "Light or dark" }, moon);
}

function keyButton() {
  if (!key.get()) return null;
  const forget = () => {
    key.clear();
    location.reload();
  };
  return h("button", { class: "button", type: "button", onclick: forget, title: "Forget the API key of this tab" }, "Sign out");
}

/** Ask for an API key; the page starts again with it. */
function gate(problem) {
  const field = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "gk_...", "aria-describedby": "key-help" });
  const said = h("p", { class: "fault", role: "alert" });
  if (key.get()) said.textContent = problem.message;
  async function enter(event) {
    event.preventDefault();
    if (!field.value.trim()) return;
    key.set(field.value.trim());
    try {
      await get("/v1/jobs", { page_size: 1 });
      location.reload();
    } catch (found) {
      said.textContent = found.status === 401 ? "The server does not know this key, or it has expired." : found.message;
      if (found.status === 401) key.clear();
      field.setAttribute("aria-invalid", "true");
      field.select();
    }
  }
  document.title = "Sign in · gogooku3";
  fill(
    main,
    h(
      "form",
      { class: "card gate", onsubmit: enter },
      h("header", null, h("h1", null, "Sign in with an API key")),
      h(
        "div",
        { class: "body stack" },
        h("div", { class: "field" }, h("label", { for: "key" }, "API key"), field, h("span", { class: "help", id: "key-help" }, "Made by ", h("code", null, "gogooku3 keys create NAME --scope submit"), ". It stays in this tab and is forgotten when the tab is closed.")),
        said,
        h("div", null, h("button", { class: "button first", type: "submit" }, "Sign in")),
      ),
    ),
  );
  field.focus();
}

async function show() {
  header();
  const at = location.pathname;
  const [, name, found] = ROUTES.map(([pattern, page]) => [pattern, page, at.match(pattern)]).find(([, , match]) => match) ?? [];
  let isShut = false;
  const stop = new AbortController();
  addEventListener("unauthenticated", (event) => {
    if (isShut) return;
    isShut = true;
    stop.abort();
    gate(event.detail);
  });
  addEventListener("pagehide", () => stop.abort());
  // A page taken back out of the browser's cache has been stopped: it starts again.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  fill(main, bones(8));
  try {
    const page = await import(`./pages/${name}.js`);
    const parameters = (found ?? []).slice(1).map(decodeURIComponent);
    await page.show(main, { parameters, query: new URLSearchParams(location.search), signal: stop.signal, title });
  } catch (problem) {
    if (isShut || problem.name === "AbortError") return;
    if (!problem.status && problem.code !== "unreachable") console.error(problem);
    const isMissing = problem.status === 404;
    title(isMissing ? "Not found" : "Not loaded");
    fill(main, h("div", { class: "stack" }, h("h1", null, isMissing ? "Not found" : "The page could not be loaded"), fault(problem, () => location.reload())));
  }
}

/** Name the page in the tab. */
function title(words) {
  document.title = `${words} · gogooku3`;
}

show();
