// Pages that stay true by themselves: a stream of a job's events, with polling behind it.

import { Problem, get, request } from "./api.js";

const POLL_MS = 2500;
const RETRY_STREAM_MS = 15_000;

/** Tells the header how the page is kept up to date: `on`, `polling` or `lost`. */
export function mood(name) {
  dispatchEvent(new CustomEvent("mood", { detail: name }));
}

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms);
    function done() {
      signal?.removeEventListener("abort", stop);
      resolve();
    }
    function stop() {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    }
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Until a person looks at this tab again. */
function seen(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve, reject) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
    signal?.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")), { once: true });
  });
}

/** Call `look` now, or not before `every` ms where what it looks at has only just come, and then every
 * `every` ms while the tab is looked at; slower while it fails. */
export async function poll(look, { every = POLL_MS, isFresh = false, signal, onProblem } = {}) {
  let failures = 0;
  for (let isDue = !isFresh; ; isDue = true) {
    try {
      if (isDue) await look();
      failures = 0;
      mood("on");
    } catch (error) {
      if (error.name === "AbortError" || signal?.aborted) return;
      failures += 1;
      if (!(error instanceof Problem)) console.error(error);
      mood(error.status ? "polling" : "lost");
      onProblem?.(error, failures);
      if (error.status === 401 || error.status === 404) return;
    }
    try {
      await pause(every * Math.min(2 ** failures, 8), signal);
      await seen(signal);
    } catch {
      return;
    }
  }
}

/** Every event of a job after `after`, once and in order, until it is finished or `signal`. */
export async function follow(jobId, after, onEvents, { signal } = {}) {
  const at = { after };
  while (!signal?.aborted) {
    try {
      if (await stream(jobId, at, onEvents, signal)) return;
    } catch (error) {
      if (signal?.aborted) return;
      if (error.status === 401 || error.status === 404) return;
    }
    // The stream is gone: ask for events one page at a time, and try the stream again later.
    const until = Date.now() + RETRY_STREAM_MS;
    do {
      try {
        const page = await get(`/v1/jobs/${jobId}/events`, { after: at.after, limit: 1000 }, { signal });
        if (page.items.length) onEvents(page.items);
        at.after = page.next_after;
        mood("polling");
        if (page.has_more) continue;
        const job = await get(`/v1/jobs/${jobId}`, undefined, { signal });
        if (job.finished_at) return;
      } catch (error) {
        if (signal?.aborted || error.status === 401 || error.status === 404) return;
        mood("lost");
      }
      try {
        await pause(POLL_MS, signal);
      } catch {
        return;
      }
    } while (Date.now() < until);
  }
}

/** Read server-sent events by fetch, which can carry the key as EventSource cannot. */
async function stream(jobId, at, onEvents, signal) {
  const answer = await request("GET", `/v1/jobs/${jobId}/stream`, {
    signal,
    headers: { Accept: "text/event-stream", "Last-Event-ID": String(at.after) },
  });
  mood("on");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return false;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    const events = [];
    let ended = false;
    for (const part of parts) {
      const message = read(part);
      if (message.event === "end") ended = true;
      else if (message.data) events.push(JSON.parse(message.data));
    }
    if (events.length) {
      at.after = events[events.length - 1].seq;
      onEvents(events);
    }
    if (ended) return true;
  }
}

function read(part) {
  const message = { event: "message", data: "" };
  for (const line of part.split("\n")) {
    if (line.startsWith("event: ")) message.event = line.slice(7);
    else if (line.startsWith("data: ")) message.data += line.slice(6);
  }
  return message;
}
