// The jobs that a page knows, newest first. Pages of the server's list come as they are scrolled to;
// once every job is in hand a filter is answered here, without asking.

import { all, get } from "../api.js";

const FIRST = 40; // a screen and a half: what is typed into a filter is answered at once
const PAGE = 200;
const MOST = 5000;
const HELD = 2000; // jobs up to which a page takes them all, about 2 MB
const HELD_MS = 60_000;
const LIVE = ["queued", "running", "paused"];
const NEWEST = 20;

/**
 * `filter`: {q, state, dataset_id, label}, read anew at each call. Of what is returned find(), more(),
 * hold() and refresh() say whether the rows may be others now.
 */
export function jobList(filter, signal) {
  let known = new Map();
  let listed = new Set(); // what the server's pages for this filter held
  let token = null;
  let isHeld = false;
  let heldAt = -Infinity; // when that was last found out
  let isHolding = false;
  let loading = null;
  let round = 0;

  const isWhole = () => isHeld;

  function asked() {
    // A label that is still being typed is not yet a filter.
    return { ...filter, label: /^[^:]+:/.test(filter.label) ? filter.label : "" };
  }

  /** The server's own conditions. */
  function fits(job) {
    const { q, state, dataset_id: dataset, label } = asked();
    const has = (text) => (text ?? "").toLowerCase().includes(q.toLowerCase());
    const at = label.indexOf(":");
    return (!q || has(job.name) || has(job.note) || job.id === q) && (!state || job.state === state) && (!dataset || job.dataset === dataset) && (!label || job.labels?.[label.slice(0, at)] === label.slice(at + 1));
  }

  function rows() {
    const found = [...known.values()].filter((job) => fits(job) && (isWhole() || listed.has(job.id)));
    return found.sort((a, b) => (a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : 0));
  }

  function take(items) {
    for (const job of items) {
      known.set(job.id, job);
      listed.add(job.id);
    }
  }

  /** The first page for a filter that has changed; false when another change has overtaken it. */
  async function find() {
    const mine = (round += 1);
    if (isWhole()) return true;
    const page = await get("/v1/jobs", { ...asked(), page_size: FIRST }, { signal });
    if (mine !== round) return false;
    listed = new Set();
    take(page.items);
    token = page.next_page_token;
    return true;
  }

  async function more() {
    if (isWhole() || !token || loading || listed.size >= MOST) return false;
    const mine = round;
    loading = get("/v1/jobs", { ...asked(), page_size: PAGE, page_token: token }, { signal });
    try {
      const page = await loading;
      if (mine !== round) return false;
      take(page.items);
      token = page.next_page_token;
      return true;
    } finally {
      loading = null;
    }
  }

  /** Take every job, where they are not too many: somebody is about to filter. */
  async function hold() {
    if (isHolding || Date.now() - heldAt < HELD_MS) return false;
    isHolding = true;
    try {
      const found = await all("/v1/jobs", { page_size: HELD / 4 }, { most: HELD, signal });
      const wasHeld = isHeld;
      heldAt = Date.now();
      isHeld = !found.more;
      if (isHeld) known = new Map(found.items.map((job) => [job.id, job]));
      return isHeld || (wasHeld && find());
    } finally {
      isHolding = false;
    }
  }

  /** What moves: the jobs that wait or run, the newest, and those that have just ended. */
  async function refresh() {
    const mine = round;
    const before = version();
    // Who holds every job has to hear of every new one, also of those that do not fit now.
    const wasWhole = isWhole();
    const where = wasWhole ? {} : asked();
    const [live, newest] = await Promise.all([
      all("/v1/jobs", { ...where, state: where.state || LIVE }, { most: 200, signal }),
      get("/v1/jobs", { ...where, page_size: NEWEST }, { signal }),
    ]);
    if (mine !== round) return false;
    const seen = new Set([...live.items, ...newest.items].map((job) => job.id));
    const gone = [...known.values()].filter((job) => LIVE.includes(job.state) && !seen.has(job.id) && (isWhole() || listed.has(job.id))).slice(0, 20);
    const ended = await Promise.all(gone.map((job) => get(`/v1/jobs/${job.id}`, undefined, { signal })));
    if (mine !== round || wasWhole !== isWhole()) return false;
    // More came at once than were looked at: between them and the rest there may be others.
    const isGap = wasWhole && newest.items.length === NEWEST && !newest.items.some((job) => known.has(job.id));
    take([...newest.items, ...ended]);
    for (const job of live.items) if (isWhole() || listed.has(job.id) || !token) take([job]);
    if (isGap) {
      isHeld = false;
      heldAt = -Infinity;
      return find();
    }
    return before !== version();
  }

  const version = () => rows().map((job) => `${job.id} ${job.updated_at}`).join();

  return { rows, get: (id) => known.get(id), find, more, hold, refresh, isWhole, hasMore: () => !isWhole() && Boolean(token) };
}
