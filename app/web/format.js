// How numbers, times and sizes are written.

export const NONE = "–";

/** Four significant places as the field writes them: rank IC 0.0312, loss 0.9871, lr 2.0e-4. */
export function number(value, places = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return value < 0 ? `−${size(-value, places)}` : size(value, places);
}

function size(value, places) {
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  if (value < 1e-3 || value >= 1e6) return value.toExponential(1);
  if (value >= 1000) return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
  return value.toFixed(value >= 100 ? 1 : value >= 10 ? 2 : places);
}

/** With its sign, as correlations are read. */
export function signed(value, places = 4) {
  if (value === null || value === undefined) return NONE;
  return (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(places);
}

export function percent(share, places = 0) {
  if (share === null || share === undefined) return NONE;
  return `${share < 0 ? "−" : ""}${Math.abs(share * 100).toFixed(places)}%`;
}

/** A share that must not look like nothing when it is a little. */
export function smallPercent(share) {
  if (share === null || share === undefined) return NONE;
  if (share > 0 && share < 0.0005) return "<0.1%";
  return percent(share, share > 0 && share < 0.1 ? 1 : 0);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export function bytes(count) {
  if (count === null || count === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let amount = count;
  let unit = 0;
  while (amount >= 1000 && unit < units.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return `${unit && amount < 100 ? amount.toFixed(1) : Math.round(amount)} ${units[unit]}`;
}

/** Local date and time, to the second. */
export function moment(iso) {
  if (!iso) return NONE;
  const at = new Date(iso);
  const two = (n) => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** How long ago, in the largest unit that says enough. */
export function ago(iso) {
  if (!iso) return NONE;
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} d ago`;
}

/** Seconds between two times; up to now while the second is missing. */
export function elapsed(from, to) {
  if (!from) return null;
  return ((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000;
}

/** A value of a configuration, short. */
export function plain(value) {
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return value;
  return JSON.stringify(value);
}

/** A nested object as dotted paths: `{a: {b: 1}}` is `{"a.b": 1}`; lists stay whole. */
export function flat(value, path = "", found = {}) {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    for (const [key, below] of Object.entries(value)) flat(below, path ? `${path}.${key}` : key, found);
    if (path && !Object.keys(value).length) found[path] = value;
  } else found[path] = value;
  return found;
}
