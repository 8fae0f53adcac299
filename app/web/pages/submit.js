// `/submit`: a training specification, checked by the server while it is written.

import { all, get, post } from "../api.js";
import { fill, h, settle } from "../dom.js";
import { flat, plain } from "../format.js";
import { mood } from "../live.js";
import { complain, empty } from "../parts/marks.js";
import { schemaForm } from "../parts/schema_form.js";

const OPEN = ["/config/data", "/config/data/split", "/config/model", "/config/optimizer"];
const FILES = new URL("..", import.meta.url);

export async function show(main, { query, signal, title }) {
  title("Submit a job");
  const [document_, datasets, presets] = await Promise.all([get("/openapi.json", undefined, { signal }), all("/v1/datasets", {}, { signal }), fetch(new URL("presets.json", FILES)).then((answer) => answer.json())]);
  mood("on");
  const definitions = document_.components.schemas;
  const known = new Map(datasets.items.map((one) => [one.id, one]));
  if (!known.size) {
    fill(main, h("div", { class: "stack" }, h("h1", null, "Submit a job"), h("div", { class: "card" }, empty("There is no dataset to train on", "Make one first; a simulated market takes seconds.", h("pre", { class: "code" }, "gogooku3 data synth demo")))));
    return;
  }
  let spec = {};
  let faults = [];
  let isChecked = false;
  let round = 0;

  const preset = h("select", { id: "preset", onchange: () => start(presets[preset.selectedIndex]) }, presets.map((one) => h("option", null, one.name)));
  const words = h("span", { class: "help" });
  const name = h("input", { id: "name", maxlength: 200, autocomplete: "off", oninput: () => set(["name"], name.value.trim() || undefined) });
  const dataset = h("select", { id: "dataset", onchange: () => (set(["dataset"], dataset.value), fitSplit(true)) }, [...known.keys()].map((id) => h("option", null, id)));
  const form = h("div", { class: "stack schema" });
  const verdict = h("div", { role: "status", "aria-live": "polite" });
  const effective = h("div");
  const code = h("textarea", { id: "json", rows: 22, spellcheck: "false", oninput: () => typed() });
  const codeFault = h("p", { class: "fault", role: "alert" });
  const send = h("button", { class: "button first", type: "submit", disabled: true }, "Submit");

  fill(
    main,
    h(
      "form",
      { class: "stack", novalidate: true, onsubmit: submit },
      h("div", { class: "head" }, h("h1", null, "Submit a job"), h("div", { class: "bar" }, send)),
      h(
        "div",
        { class: "side" },
        h(
          "div",
          { class: "stack" },
          h("section", { class: "card", "aria-label": "The job" }, h("div", { class: "body fields" }, labelled("Start from", preset, undefined, words), labelled("Dataset", dataset, "/dataset"), labelled("Name", name, "/name"))),
          form,
        ),
        h("aside", { class: "stack sticky", "aria-label": "Check" }, verdict, h("section", { class: "card" }, h("header", null, h("h2", null, "As JSON")), h("div", { class: "body stack tight" }, h("label", { for: "json", class: "hint" }, "What is sent; it can be edited here, too"), code, codeFault)), h("section", { class: "card" }, h("header", null, h("h2", null, "What it becomes")), effective)),
      ),
    ),
  );

  function labelled(label, input, pointed, help) {
    return h("div", { class: "field", "data-pointer": pointed }, h("label", { for: input.id }, label), input, help ?? null);
  }

  function valueAt(path) {
    return path.reduce((at, key) => (at === undefined || at === null ? undefined : at[key]), spec);
  }

  function set(path, value) {
    let at = spec;
    for (const [place, key] of path.slice(0, -1).entries()) {
      if (at[key] === undefined || at[key] === null || typeof at[key] !== "object") {
        if (value === undefined) return;
        at[key] = typeof path[place + 1] === "number" ? [] : {};
      }
      at = at[key];
    }
    const last = path[path.length - 1];
    if (value === undefined) delete at[last];
    else at[last] = value;
    if (value === undefined) prune(path.slice(0, -1));
    changed();
  }

  /** An object that has become empty was never set. */
  function prune(path) {
    for (let length = path.length; length > 0; length -= 1) {
      const parent = valueAt(path.slice(0, length - 1));
      const key = path[length - 1];
      if (parent && typeof parent[key] === "object" && !Array.isArray(parent[key]) && !Object.keys(parent[key]).length) delete parent[key];
    }
  }

  function start(given) {
    spec = structuredClone(given.spec);
    words.textContent = given.words;
    spec.dataset = spec.dataset && known.has(spec.dataset) ? spec.dataset : dataset.value;
    spec.config ??= {};
    fitSplit(false);
    drawForm();
    changed();
  }

  /** Dates that fit the dataset: seven tenths to train on, the next half of the rest to validate. */
  function fitSplit(isNew) {
    const { first_day: first, last_day: last } = known.get(spec.dataset);
    const at = (share) => new Date(Date.parse(first) + share * (Date.parse(last) - Date.parse(first))).toISOString().slice(0, 10);
    const split = valueAt(["config", "data", "split"]);
    if (!split || (isNew && (split.kind ?? "date") === "date")) {
      spec.config.data = { ...spec.config.data, split: { kind: "date", train_end: at(0.7), valid_end: at(0.85) } };
      if (isNew) {
        drawForm();
        changed();
      }
    }
  }

  function drawForm() {
    name.value = spec.name ?? "";
    dataset.value = spec.dataset;
    fill(form, schemaForm(definitions.JobSpec, definitions, { get: valueAt, set, open: (path) => OPEN.includes(`/${path.join("/")}`) }));
  }

  function typed() {
    try {
      const next = JSON.parse(code.value);
      if (next === null || typeof next !== "object" || Array.isArray(next)) throw new Error("must be an object");
      spec = next;
      codeFault.textContent = "";
      drawForm();
      check();
    } catch (error) {
      codeFault.textContent = `Not JSON yet: ${error.message}`;
      send.disabled = true;
    }
  }

  function changed() {
    code.value = JSON.stringify(spec, null, 2);
    codeFault.textContent = "";
    check();
  }

  const check = settle(async () => {
    const mine = (round += 1);
    try {
      const answer = await post("/v1/jobs", spec, { query: { validate_only: "true" }, signal });
      if (mine !== round) return;
      mark([]);
      isChecked = true;
      fill(verdict, h("div", { class: "notice good" }, h("strong", null, "Ready to submit"), h("span", null, "The server accepts this specification.")));
      showEffective(answer);
    } catch (problem) {
      if (mine !== round || problem.name === "AbortError") return;
      isChecked = false;
      mark(problem.errors ?? []);
      fill(verdict, h("div", { class: "notice bad" }, h("strong", null, problem.errors?.length ? `${problem.errors.length} problem${problem.errors.length > 1 ? "s" : ""}` : problem.message), h("ul", { class: "faults" }, (problem.errors ?? []).map((one) => h("li", null, h("code", null, one.pointer || "/"), " ", one.message)))));
    }
    send.disabled = !isChecked;
  }, 250);

  /** Put each problem beside the field it is about, or the nearest one above. */
  function mark(found) {
    faults = found;
    for (const old of main.querySelectorAll(".field .fault[data-made]")) old.remove();
    for (const input of main.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    for (const { pointer, message } of faults) {
      const field = [...main.querySelectorAll(".field[data-pointer]")].find((one) => one.dataset.pointer === pointer);
      if (!field) continue;
      field.append(h("span", { class: "fault", "data-made": true }, message));
      field.querySelector("input, select")?.setAttribute("aria-invalid", "true");
      field.closest("details")?.setAttribute("open", "");
    }
  }

  function showEffective(answer) {
    const values = Object.entries(flat(answer.config));
    fill(effective, h("div", { class: "effective", tabindex: 0, role: "region", "aria-label": "Effective configuration" }, h("dl", { class: "facts" }, values.map(([key, value]) => [h("dt", null, h("code", null, key)), h("dd", null, h("code", null, plain(value)))]))));
  }

  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    try {
      const job = await post("/v1/jobs", spec, { create: true });
      location.assign(`/jobs/${job.id}`);
    } catch (problem) {
      complain(problem);
      mark(problem.errors ?? []);
      send.disabled = false;
    }
  }

  dataset.value = known.has(query.get("dataset")) ? query.get("dataset") : [...known.keys()][0];
  start(presets[0]);
}
