// Elements without markup: text is always text, so nothing that a server says can become a script.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("a", {href: "/", class: "x", onclick: f}, "text", child, [more])`. */
export function h(tag, given, ...children) {
  return build(document.createElement(tag), given, children);
}

/** The same for SVG. */
export function svg(tag, given, ...children) {
  return build(document.createElementNS(SVG, tag), given, children);
}

function build(element, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "indeterminate")
      element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Change an element only where its content differs, so that selections and focus survive. */
export function text(element, value) {
  const words = String(value ?? "");
  if (element.textContent !== words) element.textContent = words;
}

/** Call `f` at most once in `pause` ms, and once more at the end. */
export function settle(f, pause) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...given), pause);
  };
}
