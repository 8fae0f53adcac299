// The end of a trainer's log, growing.

import { request } from "../api.js";
import { h } from "../dom.js";
import { bytes } from "../format.js";
import { pause } from "../live.js";

const TAIL = 400;
const KEPT = 400_000;
const EVERY_MS = 2000;

/** {element, look()}: look() fetches what has been written since. */
export function logTail(path, signal, isOver) {
  const text = h("pre", { class: "log", tabindex: 0, role: "log", "aria-label": "Log", "aria-live": "off" });
  const hint = h("span", { class: "hint" });
  const follow = h("input", { type: "checkbox", checked: true });
  const element = h("div", null, h("div", { class: "bar apart logbar" }, hint, h("label", { class: "hint" }, follow, " follow")), text);
  let after = null;
  let busy = false;

  async function read(query) {
    const answer = await request("GET", `${path}/logs`, { query, signal, headers: { Accept: "text/plain" } });
    return { words: await answer.text(), end: Number(answer.headers.get("X-Log-End")), size: Number(answer.headers.get("X-Log-Size")) };
  }

  async function look() {
    if (busy) return;
    busy = true;
    try {
      let piece = await read(after === null ? { tail: TAIL } : { after, limit_bytes: 262_144 });
      if (piece.end > piece.size) {
        // The log had grown too long, and its beginning was dropped.
        piece = await read({ tail: TAIL });
        text.textContent = "";
      }
      after = piece.end;
      hint.textContent = piece.size ? `last lines of ${bytes(piece.size)}` : "nothing written yet";
      if (piece.words) {
        text.textContent = (text.textContent + piece.words).slice(-KEPT);
        if (follow.checked) text.scrollTop = text.scrollHeight;
      }
    } catch (problem) {
      if (problem.name === "AbortError") return;
      hint.textContent = problem.message;
    } finally {
      busy = false;
    }
  }

  text.addEventListener("scroll", () => {
    const isAtEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 24;
    if (!isAtEnd && follow.checked && text.matches(":hover, :focus")) follow.checked = false;
  });

  (async () => {
    while (!signal.aborted) {
      await pause(EVERY_MS, signal).catch(() => {});
      if (element.isConnected && !document.hidden && !isOver()) await look();
    }
  })();
  return { element, look };
}
