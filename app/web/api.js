// The public HTTP API, as these pages use it. The key stays in this tab and goes nowhere else.

const KEY = "gogooku3.key";
const kept = new Map();
const KEPT_MOST = 60;

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  clear: () => sessionStorage.removeItem(KEY),
};

/** An answer that is an error: problem+json, or no answer at all (status 0). */
export class Problem extends Error {
  constructor(body) {
    super(body.detail || body.title || "The server did not answer.");
    this.status = body.status ?? 0;
    this.code = body.code ?? "error";
    this.requestId = body.request_id ?? "";
    this.errors = body.errors ?? [];
  }
}

function headersWith(given) {
  const headers = { Accept: "application/json", ...given };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  return headers;
}

/** `path` with a query; lists are repeated, what is empty is left out. */
export function address(path, query) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== undefined && one !== null && one !== "") words.append(name, one);
  }
  const asked = words.toString();
  return asked ? `${path}?${asked}` : path;
}

/** The raw answer. Throws Problem for errors; an unknown key asks the person for one. */
export async function request(method, path, { query, body, headers, signal } = {}) {
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method,
      signal,
      headers: headersWith(body === undefined ? headers : { "Content-Type": "application/json", ...headers }),
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ code: "unreachable", detail: "The server does not answer. These pages go on trying." });
  }
  if (answer.status < 400) return answer;
  const found = await answer.json().catch(() => ({ detail: answer.statusText }));
  const problem = new Problem({ status: answer.status, ...found });
  if (problem.status === 401) dispatchEvent(new CustomEvent("unauthenticated", { detail: problem }));
  throw problem;
}

/** A read. The same address is asked with its ETag, so what has not changed costs no body. */
export async function get(path, query, { signal } = {}) {
  const url = address(path, query);
  const known = kept.get(url);
  const answer = await request("GET", url, {
    signal,
    headers: known ? { "If-None-Match": known.etag } : {},
  });
  if (answer.status === 304) return known.value;
  const value = await answer.json();
  const etag = answer.headers.get("ETag");
  if (etag) {
    kept.delete(url);
    kept.set(url, { etag, value });
    if (kept.size > KEPT_MOST) kept.delete(kept.keys().next().value);
  }
  return value;
}

/** A change; a create carries an Idempotency-Key, so a repeated click is one job. */
export async function post(path, body, { query, create = false, signal } = {}) {
  const headers = create ? { "Idempotency-Key": newKey() } : {};
  const answer = await request("POST", path, { query, body, headers, signal });
  return answer.status === 204 ? null : answer.json();
}

export async function patch(path, body, headers) {
  return (await request("PATCH", path, { body, headers })).json();
}

/** Every item of a list, page by page, up to `most`. */
export async function all(path, query, { most = 1000, signal } = {}) {
  const items = [];
  let token;
  do {
    const page = await get(path, { page_size: Math.min(most - items.length, 1000), ...query, page_token: token }, { signal });
    items.push(...page.items);
    token = page.next_page_token;
  } while (token && items.length < most);
  return { items, more: Boolean(token) };
}

/** A file through the key that a plain link could not carry. */
export async function download(path, name) {
  const answer = await request("GET", path);
  const url = URL.createObjectURL(await answer.blob());
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Random, also where the page is not on HTTPS and `randomUUID` is missing. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
