// `/docs`: every endpoint, from the server's own description; works without the internet.

import { address, get, request } from "../api.js";
import { fill, h, settle } from "../dom.js";
import { plain } from "../format.js";
import { mood } from "../live.js";
import { facts, rich } from "../parts/marks.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 7;

export async function show(main, { signal, title }) {
  title("API");
  const api = await get("/openapi.json", undefined, { signal });
  mood("on");
  const definitions = api.components.schemas;
  const operations = Object.entries(api.paths).flatMap(([path, methods]) => METHODS.filter((method) => methods[method]).map((method) => ({ path, method, ...methods[method] })));
  const groups = new Map();
  for (const one of operations) {
    const tag = one.tags?.[0] ?? "other";
    groups.set(tag, [...(groups.get(tag) ?? []), one]);
  }
  const find = h("input", { type: "search", placeholder: "Find an endpoint", "aria-label": "Find an endpoint", oninput: settle(() => narrow(), 80) });
  const made = operations.map((one) => [one, operation(one, definitions)]);
  const byOperation = new Map(made);
  const links = new Map(operations.map((one) => [one, h("li", null, h("a", { href: `#${anchor(one)}` }, h("span", { class: `method ${one.method}` }, one.method.toUpperCase()), h("span", { class: "path" }, one.path.replace("/v1", ""))))]));
  const index = h("nav", { class: "card index", "aria-label": "Endpoints" }, h("div", { class: "body" }, find), [...groups].map(([tag, list]) => h("div", { class: "body tight" }, h("h2", { class: "small" }, tag), h("ul", null, list.map((one) => links.get(one))))));

  fill(
    main,
    h(
      "div",
      { class: "reference" },
      index,
      h(
        "div",
        { class: "stack wide" },
        h("div", { class: "stack tight" }, h("h1", null, `${api.info.title} ${api.info.version}`), paragraphs(api.info.description), h("p", { class: "hint" }, "The same as data: ", h("a", { href: "/openapi.json" }, "/openapi.json"), ". Every answer carries X-Request-Id; errors are problem+json and name it.")),
        [...groups].map(([tag, list]) => h("section", { class: "stack", "aria-label": tag }, h("h2", null, tag), list.map((one) => byOperation.get(one)))),
      ),
    ),
  );

  function narrow() {
    const words = find.value.trim().toLowerCase();
    for (const [one, element] of made) {
      const is = !words || `${one.method} ${one.path} ${one.summary} ${one.description ?? ""}`.toLowerCase().includes(words);
      element.hidden = links.get(one).hidden = !is;
    }
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

const anchor = (one) => one.operationId ?? `${one.method}${one.path.replace(/\W+/g, "-")}`;

function operation(one, definitions) {
  const body = one.requestBody?.content?.["application/json"];
  const answers = Object.entries(one.responses ?? {});
  const good = answers.find(([code, answer]) => code.startsWith("2") && answer.content?.["application/json"]);
  return h(
    "article",
    { class: "card", id: anchor(one) },
    h("header", null, h("h3", { class: "bar" }, h("span", { class: `method ${one.method}` }, one.method.toUpperCase()), h("code", null, one.path)), h("span", { class: "hint" }, one.summary)),
    h(
      "div",
      { class: "body stack" },
      one.description ? paragraphs(one.description) : null,
      one.parameters?.length ? parameters(one.parameters, definitions) : null,
      body ? h("details", null, h("summary", null, "Body"), tree(body.schema, definitions)) : null,
      good ? h("details", null, h("summary", null, "Answer"), tree(good[1].content["application/json"].schema, definitions)) : null,
      h("details", null, h("summary", null, `Status codes: ${answers.map(([code]) => code).join(", ")}`), h("div", { class: "tree" }, facts(Object.fromEntries(answers.map(([code, answer]) => [` ${code}`, rich(answer.description)]))))),
      h("pre", { class: "code", tabindex: 0, "aria-label": "With curl" }, curl(one, body)),
      one.method === "get" && !one.path.endsWith("/stream") && !one.path.endsWith("/content") ? trial(one) : null,
    ),
  );
}

function parameters(list, definitions) {
  return h("dl", { class: "facts parameters" }, list.map((one) => [h("dt", null, h("code", null, one.name), one.required ? h("span", { class: "tag" }, "required") : null), h("dd", null, h("span", { class: "hint" }, `${one.in}, ${typeOf(one.schema, definitions)}`), one.description ? [" ", rich(one.description)] : null)]));
}

/** The fields of a schema, nested ones behind a summary and made when it is opened. */
function tree(schema, definitions, depth = 0) {
  const shape = resolved(schema, definitions);
  const properties = Object.entries(shape.properties ?? {});
  if (!properties.length) return h("p", { class: "hint" }, typeOf(schema, definitions), shape.description ? `: ${shape.description}` : "");
  const required = new Set(shape.required ?? []);
  return h(
    "dl",
    { class: "facts tree" },
    properties.map(([name, one]) => {
      const below = nested(one, definitions);
      const said = [h("span", { class: "hint" }, typeOf(one, definitions), required.has(name) ? ", required" : "", one.default !== undefined && typeof one.default !== "object" ? `, default ${plain(one.default)}` : ""), one.description ? h("div", null, paragraphs(one.description)) : null];
      if (below.length && depth < DEEPEST) for (const next of below) said.push(lazy(next, definitions, depth));
      return [h("dt", null, h("code", null, name)), h("dd", null, said)];
    }),
  );
}

function lazy(schema, definitions, depth) {
  const box = h("details", { ontoggle: () => box.open && box.childElementCount === 1 && box.append(tree(schema, definitions, depth + 1)) }, h("summary", null, resolved(schema, definitions).title ?? "fields"));
  return box;
}

function nested(schema, definitions) {
  const options = schema.anyOf ?? schema.oneOf ?? [schema.items ?? schema];
  return options.map((one) => (one.items ? one.items : one)).filter((one) => resolved(one, definitions).properties);
}

function resolved(schema, definitions) {
  return schema?.$ref ? definitions[schema.$ref.split("/").pop()] : (schema ?? {});
}

function typeOf(schema, definitions) {
  if (!schema) return "any";
  if (schema.$ref) return resolved(schema, definitions).enum?.join(" | ") ?? schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.const !== undefined) return plain(schema.const);
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return options.map((one) => typeOf(one, definitions)).join(" | ");
  if (schema.type === "array") return `list of ${typeOf(schema.items, definitions)}`;
  return schema.format ? `${schema.type} (${schema.format})` : (schema.type ?? "any");
}

/** Text with `code` in it and paragraphs. */
function paragraphs(words) {
  return h("div", { class: "stack tight" }, words.split(/\n\s*\n/).map((part) => h("p", null, rich(part.replace(/\s+/g, " ")))));
}

function curl(one, body) {
  const lines = [`curl ${one.method === "get" ? "" : `-X ${one.method.toUpperCase()} `}$GOGOOKU3_URL${one.path}`];
  if (one.security?.length || one.path.startsWith("/v1")) lines.push('-H "Authorization: Bearer $GOGOOKU3_API_KEY"');
  if (one.parameters?.some((parameter) => parameter.name === "Idempotency-Key")) lines.push('-H "Idempotency-Key: $(uuidgen)"');
  if (body) lines.push('-H "Content-Type: application/json"', `-d '${JSON.stringify(body.example ?? {}, null, 2)}'`);
  return lines.join(" \\\n  ");
}

/** Ask it here and now, with the key of this tab. */
function trial(one) {
  const inputs = (one.parameters ?? []).filter((parameter) => parameter.in !== "header").map((parameter) => ({ parameter, input: h("input", { id: `${anchor(one)}-${parameter.name}`, placeholder: parameter.schema?.default === undefined ? "" : plain(parameter.schema.default), autocomplete: "off" }) }));
  const answer = h("pre", { class: "code log", tabindex: 0, hidden: true, "aria-label": "The answer" });
  async function send(event) {
    event.preventDefault();
    const path = inputs.filter((one) => one.parameter.in === "path").reduce((at, { parameter, input }) => at.replace(`{${parameter.name}}`, encodeURIComponent(input.value)), one.path);
    const query = Object.fromEntries(inputs.filter((one) => one.parameter.in === "query").map(({ parameter, input }) => [parameter.name, input.value]));
    answer.hidden = false;
    try {
      const got = await request("GET", path, { query });
      const words = await got.text();
      answer.textContent = `${got.status} ${address(path, query)}\n\n${pretty(words)}`;
    } catch (problem) {
      answer.textContent = `${problem.status} ${problem.code}\n\n${problem.message}\n${problem.errors.map((e) => `${e.pointer}: ${e.message}`).join("\n")}\nrequest ${problem.requestId}`;
    }
  }
  return h("details", null, h("summary", null, "Try it"), h("form", { class: "stack", onsubmit: send }, inputs.length ? h("div", { class: "fields" }, inputs.map(({ parameter, input }) => h("div", { class: "field" }, h("label", { for: input.id }, parameter.name), input))) : null, h("div", null, h("button", { class: "button", type: "submit" }, "Send")), answer));
}

function pretty(words) {
  try {
    return JSON.stringify(JSON.parse(words), null, 2).slice(0, 100_000);
  } catch {
    return words.slice(0, 100_000);
  }
}
