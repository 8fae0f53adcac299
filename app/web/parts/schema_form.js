// A form made from a JSON schema. Only what a person sets is in its value: defaults stay the server's.

import { fill, h } from "../dom.js";
import { plain } from "../format.js";
import { rich } from "./marks.js";

let count = 0;

/**
 * `root`: the schema; `definitions`: by name, for `$ref`. `get(path)`/`set(path, value)` read and write
 * the specification (`undefined` takes a key out); paths are lists of keys.
 */
export function schemaForm(root, definitions, { get, set, open = () => false }) {
  const resolve = (schema) => (schema.$ref ? { ...definitions[schema.$ref.split("/").pop()], ...without(schema, "$ref") } : schema);

  function field(schema, path, name) {
    const full = resolve(schema);
    const { inner, isNullable } = nullable(full);
    const shape = resolve(inner);
    if (shape.oneOf) return union(shape, path, name, full);
    if (shape.type === "object" && shape.properties) return group(shape, path, name, full);
    if (shape.type === "array" && resolve(shape.items ?? {}).oneOf) return list(shape, path, name, full);
    if (shape.type === "object") return pairs(path, name, full);
    return leaf(shape, path, name, full, isNullable);
  }

  function fields(shape, path, skip = []) {
    const simple = [];
    const nested = [];
    for (const [name, below] of Object.entries(shape.properties ?? {})) {
      if (skip.includes(name)) continue;
      const made = field(below, [...path, name], name);
      (made.classList.contains("group") ? nested : simple).push(made);
    }
    return [simple.length ? h("div", { class: "fields" }, simple) : null, nested];
  }

  function group(shape, path, name, full) {
    const words = full.description ?? shape.description ?? "";
    return section(path, name, words, fields(shape, path));
  }

  function section(path, name, words, content) {
    const isOpen = open(path) || get(path) !== undefined;
    return h("details", { class: "group", open: isOpen, "data-pointer": pointer(path) }, h("summary", null, h("b", null, name), h("span", { class: "hint" }, rich(firstLine(words)))), h("div", { class: "inside" }, content));
  }

  /** One of several kinds: the choice, then the fields of the chosen one. */
  function union(shape, path, name, full) {
    const options = kinds(shape);
    const chosen = get(path)?.kind ?? full.default?.kind ?? shape.discriminator?.default ?? options[0]?.kind;
    const holder = h("div", { class: "inside" });
    const select = h("select", { id: `f${(count += 1)}`, onchange: () => choose(select.value) }, options.map((one) => h("option", { value: one.kind }, one.kind)));
    const isListItem = typeof path[path.length - 1] === "number";

    function choose(kind) {
      // Another kind has other keys: what was set for the last one goes with it.
      set(path, kind === full.default?.kind && !isListItem ? undefined : { kind });
      draw(kind);
    }
    function draw(kind) {
      const one = options.find((option) => option.kind === kind);
      fill(holder, one?.shape.description ? h("p", { class: "hint" }, rich(firstLine(one.shape.description, 200))) : null, one ? fields(one.shape, path, ["kind"]) : null);
    }
    select.value = chosen;
    draw(chosen);
    const isOpen = open(path) || get(path) !== undefined;
    return h("details", { class: "group", open: isOpen, "data-pointer": pointer(path) }, h("summary", null, h("b", null, name), h("span", { class: "hint" }, rich(firstLine(full.description ?? "")))), h("div", { class: "fields" }, h("div", { class: "field", "data-pointer": pointer([...path, "kind"]) }, h("label", { for: select.id }, "kind"), select)), holder);
  }

  function kinds(shape) {
    return shape.oneOf.map((one) => {
      const full = resolve(one);
      return { kind: full.properties?.kind?.const ?? full.properties?.kind?.default, shape: full };
    });
  }

  /** A list of kinds, such as the terms of the loss. */
  function list(shape, path, name, full) {
    const holder = h("div", { class: "stack" });
    const items = () => get(path) ?? full.default ?? [];
    const options = kinds(resolve(shape.items));
    function put(next) {
      set(path, next);
      draw();
    }
    function draw() {
      const isSet = get(path) !== undefined;
      fill(
        holder,
        items().map((item, at) =>
          h(
            "div",
            { class: "item" },
            isSet ? union({ ...resolve(shape.items), default: { kind: item.kind } }, [...path, at], `${at + 1}: ${item.kind}`, { default: { kind: item.kind } }) : h("div", { class: "bar" }, h("code", null, plain(item)), h("span", { class: "hint" }, "default")),
            isSet ? h("button", { class: "plain", type: "button", onclick: () => put(items().filter((_, other) => other !== at)) }, "Remove") : null,
          ),
        ),
        h(
          "div",
          { class: "bar" },
          isSet
            ? [options.map((one) => h("button", { class: "button", type: "button", onclick: () => put([...items(), { kind: one.kind }]) }, `Add ${one.kind}`)), h("button", { class: "plain", type: "button", onclick: () => put(undefined) }, "Back to the default")]
            : h("button", { class: "button", type: "button", onclick: () => put(items().map((item) => ({ kind: item.kind, ...("weight" in item ? { weight: item.weight } : {}) }))) }, "Change"),
        ),
      );
    }
    draw();
    return section(path, name, full.description ?? "", holder);
  }

  /** Names and values, one pair a line. */
  function pairs(path, name, full) {
    const id = `f${(count += 1)}`;
    const isNumeric = Object.values(resolve(full).patternProperties ?? {})[0]?.type !== "string" && name !== "labels";
    const lines = Object.entries(get(path) ?? {}).map(([key, value]) => `${key}: ${value}`);
    const input = h("textarea", { id, rows: Math.max(2, lines.length), spellcheck: "false", placeholder: full.default ? plain(full.default) : isNumeric ? "1: 1.0" : "key: value", "aria-describedby": `${id}-help` });
    input.value = lines.join("\n");
    input.addEventListener("input", () => {
      const found = input.value.split("\n").map((line) => line.match(/^\s*([^:]+?)\s*:\s*(.*?)\s*$/)).filter(Boolean);
      set(path, found.length ? Object.fromEntries(found.map(([, key, value]) => [key, isNumeric && value !== "" && !Number.isNaN(Number(value)) ? Number(value) : value])) : undefined);
    });
    return h("div", { class: "field", "data-pointer": pointer(path) }, h("label", { for: id }, name), input, h("span", { class: "help", id: `${id}-help` }, rich(`${firstLine(full.description ?? "", 160)} One a line.`)));
  }

  function leaf(shape, path, name, full, isNullable) {
    const id = `f${(count += 1)}`;
    const given = full.default;
    const now = get(path);
    const words = firstLine(full.description ?? shape.description ?? "", 220);
    let input;
    if (shape.type === "boolean") {
      input = h("select", { id }, h("option", { value: "" }, `default (${given ?? "unset"})`), h("option", { value: "true" }, "true"), h("option", { value: "false" }, "false"));
      input.value = now === undefined ? "" : String(now);
      input.addEventListener("change", () => set(path, input.value === "" ? undefined : input.value === "true"));
    } else if (shape.enum) {
      input = h("select", { id }, h("option", { value: "" }, given === undefined ? "choose" : `default (${given})`), shape.enum.map((one) => h("option", { value: one }, one)));
      input.value = now ?? "";
      input.addEventListener("change", () => set(path, input.value || undefined));
    } else {
      const isNumber = shape.type === "integer" || shape.type === "number";
      const isDate = shape.format === "date";
      input = h("input", { id, type: isDate ? "date" : "text", inputmode: isNumber ? "decimal" : undefined, spellcheck: "false", autocomplete: "off", placeholder: given === undefined ? (isNullable ? "unset" : "") : given === null ? (/deriv/i.test(full.description ?? "") ? "derived" : "unset") : plain(given) });
      input.value = now === undefined ? "" : typeof now === "string" ? now : plain(now);
      input.addEventListener("input", () => set(path, read(input.value.trim(), shape)));
    }
    const range = [shape.minimum !== undefined ? `≥ ${shape.minimum}` : null, shape.exclusiveMinimum !== undefined ? `> ${shape.exclusiveMinimum}` : null, shape.maximum !== undefined ? `≤ ${shape.maximum}` : null, shape.exclusiveMaximum !== undefined ? `< ${shape.exclusiveMaximum}` : null].filter(Boolean).join(", ");
    input.setAttribute("aria-describedby", `${id}-help`);
    return h("div", { class: "field", "data-pointer": pointer(path) }, h("label", { for: id }, name), input, h("span", { class: "help", id: `${id}-help` }, rich([words, range].filter(Boolean).join(" "))));
  }

  return fields(resolve(root), [], ["config", "dataset", "name"]).concat(fields(resolve(resolve(root).properties.config), ["config"]));
}

/** What was typed as a value; what does not fit stays text, and the server says what is wrong. */
function read(typed, shape) {
  if (typed === "") return undefined;
  if (shape.type === "string") return typed;
  if (shape.type === "array" && !typed.startsWith("[")) return typed.split(/[\s,]+/).filter(Boolean).map((one) => (Number.isNaN(Number(one)) ? one : Number(one)));
  try {
    return JSON.parse(typed);
  } catch {
    return typed;
  }
}

function nullable(schema) {
  const options = schema.anyOf;
  if (!options?.some((one) => one.type === "null")) return { inner: schema, isNullable: false };
  const rest = options.filter((one) => one.type !== "null");
  return { inner: rest.length === 1 ? rest[0] : { type: "any" }, isNullable: true };
}

function without(object, ...names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}

function firstLine(words, most = 110) {
  const one = words.replace(/\s+/g, " ").trim();
  return one.length <= most ? one : `${one.slice(0, one.lastIndexOf(" ", most))} …`;
}

/** A path as the server's problems name it. */
export function pointer(path) {
  return `/${path.map((key) => String(key).replaceAll("~", "~0").replaceAll("/", "~1")).join("/")}`;
}
