// Elements without markup: text goes in as text nodes, names of tags and attributes come from our own code.

const SVG = "http://www.w3.org/2000/svg";

/** el("button", {class: "run", onclick: f, "aria-pressed": "true"}, "Run", child) */
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  put(node, ...children);
  return node;
}

export function put(node, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child == null || child === false) continue;
    node.append(child.nodeType ? child : document.createTextNode(String(child)));
  }
  return node;
}

export function set(node, ...children) {
  node.replaceChildren();
  return put(node, ...children);
}

/** A link that leaves only for http(s); anything else becomes plain text. */
export function outward(label, url) {
  return /^https?:\/\//.test(url) ? el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, label) : el("span", {}, label);
}

/** words("home.seed", {seed: 3}) from the catalogue of strings; a missing key shows itself. */
export function wording(strings) {
  return (key, args = {}) => String(strings[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in args ? String(args[name]) : whole));
}

/** Memory of this browser. It can be absent or forbidden (private windows, embedded frames): then nothing is kept. */
export const memory = {
  get(key) {
    try {
      return localStorage.getItem(`unfold.${key}`);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`unfold.${key}`, value);
    } catch {
      // nothing depends on it
    }
  },
};

/** Keep something for the next page of this tab, or take what the last one left. */
export const baton = {
  leave(what) {
    try {
      sessionStorage.setItem("unfold.baton", JSON.stringify(what));
    } catch {
      // too large, or forbidden: then nothing is kept
    }
  },
  take() {
    try {
      const text = sessionStorage.getItem("unfold.baton");
      sessionStorage.removeItem("unfold.baton");
      return JSON.parse(text);
    } catch {
      return null;
    }
  },
};

/** The items of a recorded run: its header, then its events. */
export function lines(text) {
  return text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
}

/** A borrowed lane keeps its own title in its Begin; here it goes by the name that this exhibit gives it. */
export function named(events, exhibit) {
  return events.map((e) => (e.kind === "begin" ? { ...e, title: exhibit.lanes.find((l) => l.id === e.lane)?.title || e.title } : e));
}
