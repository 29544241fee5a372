// The page: header, atlas or exhibit, link, theme, keys. Gradio is seen only by `open`, at the bottom.

import { el, memory, put, set, svg, wording } from "./dom.js";
import { read, write } from "./url.js";
import * as exhibitPage from "./exhibit.js";
import * as homePage from "../home/home.js";

/** mountPage(element, {data, transport}) -> {receive(frame), destroy()} */
export function mountPage(element, { data, transport }) {
  const words = wording(data.strings);
  const listeners = new AbortController();
  const { signal } = listeners;
  const stored = memory.get("theme");
  let asked = read(location.search, data, words);
  let theme = asked.theme ?? (["light", "dark"].includes(stored) ? stored : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  let themeInLink = asked.theme;
  let current = null;

  const copy = el("button", { type: "button", class: "header-button copy-link", "aria-label": words("header.copy"), onclick: copyLink }, icon("link"), el("span", {}, words("header.copy")));
  const switcher = el("button", { type: "button", class: "header-button theme-switch", onclick: () => setTheme(theme === "dark" ? "light" : "dark", true) }, icon("theme"));
  const keys = el("button", { type: "button", class: "header-button keys-button", "aria-label": words("header.keys"), title: words("header.keys"), onclick: () => help.showModal() }, icon("keys"), el("span", { class: "signs-mark" }, "?"));
  const lecture = el("button", { type: "button", class: "header-button lecture-switch", onclick: toggleLecture }, icon("lecture"));
  const atlas = link("", words("header.atlas"), { class: "header-link" });
  const header = el("header", { class: "page-header" },
    el("div", { class: "header-inner" },
      link("", [wordmark(), el("span", { class: "wordmark" }, "unfold")], { class: "brand", "aria-label": words("header.home") }),
      el("nav", { "aria-label": words("header.nav") }, atlas),
      el("div", { class: "header-tools" }, lecture, keys, switcher, copy)));
  const banner = el("div", { class: "page-banners" });
  const stage = el("div", { class: "page-body" });
  const live = el("div", { class: "visually-hidden", "aria-live": "polite", role: "status" });
  const help = helpDialog();
  set(element, el("a", { class: "skip", href: "#unfold-main" }, words("header.skip")), header, banner, stage, live, help);
  element.classList.add("unfold");

  function link(query, children, props = {}) {
    return el("a", {
      href: query || "?", ...props,
      onclick: (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        go(query);
      },
    }, children);
  }

  // ---- where we are

  function go(query) {
    history.pushState(null, "", query || location.pathname);
    show();
    scrollTo({ top: 0 });
    stage.querySelector("h1")?.focus({ preventScroll: true });
  }

  function show() {
    current?.destroy();
    asked = read(location.search, data, words);
    if (asked.theme) setTheme(asked.theme, false);
    const exhibit = data.exhibits.find((e) => e.slug === asked.exhibit);
    paintLecture();
    lecture.hidden = !exhibit;
    atlas.toggleAttribute("aria-current", !exhibit);
    copy.hidden = !exhibit;
    set(banner, asked.refused.length ? refusedLine(asked.refused) : null);
    const shared = { data, words, transport, theme: () => theme, link, say, keep, disconnected, banner };
    try {
      current = exhibit ? exhibitPage.mount(stage, { ...shared, exhibit, asked }) : homePage.mount(stage, shared);
    } catch (error) {
      console.error(error);
      current = { receive() {}, destroy() {}, retheme() {} };
      set(stage, el("p", { class: "page-trouble", role: "alert" }, words("page.broken")));
    }
    document.title = exhibit ? `${exhibit.title} · Unfold` : words("page.title");
  }

  /** Keep the link in step with what is on screen. Embedded pages leave their parent's history alone. */
  function keep(state, exhibit) {
    if (window.self !== window.top) return;
    history.replaceState(null, "", write({ ...state, theme: themeInLink, lecture: asked.lecture }, exhibit) || location.pathname);
  }

  function refusedLine(refused) {
    const box = el("div", { class: "banner refused-link", role: "status" }, icon("note"),
      el("p", {}, words(refused.length === 1 ? "link.refused.one" : "link.refused"), " ",
        refused.map((r, i) => [i ? "; " : "", el("b", {}, r.field), r.value ? ` “${r.value}”` : "", `: ${r.message}`]), "."),
      el("button", { type: "button", class: "button plain", onclick: () => box.remove() }, words("banner.dismiss")));
    return box;
  }

  function disconnected(yes) {
    const old = banner.querySelector(".server-gone");
    if (!yes) old?.remove();
    else if (!old) put(banner, el("div", { class: "banner server-gone", role: "alert" }, icon("note"), el("p", {}, words("page.gone"))));
  }

  function say(text) {
    live.textContent = text;
  }

  // ---- theme

  function setTheme(next, remember) {
    theme = next;
    if (remember) {
      memory.set("theme", next);
      if (themeInLink) themeInLink = next;
    }
    paintTheme();
    current?.retheme?.();
    if (remember && themeInLink) history.replaceState(null, "", location.search.replace(/theme=\w+/, `theme=${next}`));
  }

  // Gradio sets the class by the system's theme; ours decides.
  function paintTheme() {
    const dark = theme === "dark";
    for (const node of [document.documentElement, document.body]) {
      if (node.classList.contains("dark") !== dark) node.classList.toggle("dark", dark);
    }
    document.documentElement.style.colorScheme = theme;
    switcher.setAttribute("aria-label", words(dark ? "header.light" : "header.dark"));
    switcher.title = words(dark ? "header.light" : "header.dark");
  }
  const watcher = new MutationObserver(paintTheme);
  watcher.observe(document.body, { attributes: true, attributeFilter: ["class"] });
  paintTheme();

  // ---- lecture: large type, the idea above the stage, no controls

  function paintLecture() {
    document.documentElement.classList.toggle("lecture", asked.lecture);
    lecture.setAttribute("aria-pressed", String(asked.lecture));
    const name = words(asked.lecture ? "header.lecture.end" : "header.lecture");
    lecture.setAttribute("aria-label", name);
    lecture.title = name;
  }

  function toggleLecture() {
    asked.lecture = !asked.lecture;
    paintLecture();
    current.lecture?.(asked.lecture);
    if (window.self !== window.top) return;
    const rest = location.search.replace(/[?&]lecture=1/, "").replace(/^&/, "?");
    history.replaceState(null, "", asked.lecture ? `${rest || "?"}${rest ? "&" : ""}lecture=1` : rest || location.pathname);
  }

  // ---- copy

  async function copyLink() {
    const url = new URL(location.pathname + (current.query?.() ?? location.search), location.href).href;
    let done = false;
    try {
      await navigator.clipboard.writeText(url);
      done = true;
    } catch {
      const field = el("textarea", { class: "visually-hidden" });
      field.value = url;
      document.body.append(field);
      field.select();
      done = document.execCommand("copy");
      field.remove();
    }
    const label = copy.lastElementChild;
    label.textContent = words(done ? "header.copied" : "header.copy-failed");
    copy.dataset.url = url;
    say(label.textContent);
    setTimeout(() => { label.textContent = words("header.copy"); }, 2000);
  }

  // ---- keys

  function helpDialog() {
    const pairs = (name) => el("dl", {}, (data.strings[name] ?? []).map(([sign, what]) => [el("dt", {}, sign.split(" ").map((k) => el("kbd", {}, k))), el("dd", {}, what)]));
    const off = el("input", { type: "checkbox", role: "switch", id: "keys-on", checked: memory.get("keys") !== "off", onchange: () => memory.set("keys", off.checked ? "on" : "off") });
    return el("dialog", { class: "help", "aria-labelledby": "help-title" },
      el("div", { class: "help-keys" }, el("h2", {}, words("keys.title")), pairs("keys.list"),
        el("p", { class: "help-switch" }, el("label", { for: "keys-on" }, words("keys.letters")), off)),
      el("h2", { id: "help-title" }, words("signs.title")), pairs("signs.list"),
      el("form", { method: "dialog" }, el("button", { class: "button" }, words("keys.close"))));
  }

  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const at = event.target;
    if (at.closest?.("input, textarea, select, [contenteditable], dialog")) return;
    if (at !== document.body && !element.contains(at)) return;
    if ([" ", "Enter"].includes(event.key) && at.closest?.("button, a, summary")) return;
    const letter = event.key.length === 1 && event.key !== " ";
    if (letter && memory.get("keys") === "off") return;
    if (event.key === "?") help.showModal();
    else if (!current?.key?.(event, asked.lecture)) return;
    event.preventDefault();
  }, { signal });
  addEventListener("popstate", show, { signal });
  addEventListener("offline", () => disconnected(true), { signal });
  addEventListener("online", () => disconnected(false), { signal });

  show();

  return {
    receive: (frame) => frame && current?.receive(frame),
    destroy() {
      listeners.abort();
      watcher.disconnect();
      current?.destroy();
    },
  };
}

// A sheet that unfolds: two folded panels and one still opening.
function wordmark() {
  const line = (d, extra = {}) => svg("path", { d, fill: "none", stroke: "currentColor", "stroke-width": 1.7, "stroke-linejoin": "round", "stroke-linecap": "round", ...extra });
  return svg("svg", { viewBox: "0 0 34 28", class: "logo", "aria-hidden": "true" },
    line("M3 6.2 L11.2 3.4 L11.4 21.6 L3.2 24.6 Z"), line("M11.2 3.4 L19.6 6.6 L19.4 24.4 L11.4 21.6"),
    line("M19.6 6.6 L27.4 2.6 C28.6 8 30.4 13 31 20.4 L19.4 24.4", { "stroke-dasharray": "0.1 3.1", "stroke-width": 2 }));
}

const ICONS = {
  theme: [["circle", { cx: 12, cy: 12, r: 8, fill: "none", stroke: "currentColor", "stroke-width": 1.6 }], ["path", { d: "M12 4 a8 8 0 0 1 0 16 z", fill: "currentColor" }]],
  link: [["path", { d: "M10 14 l4 -4 M8.5 11 l-2.2 2.2 a3.2 3.2 0 0 0 4.5 4.5 L13 15.5 M11 8.5 l2.2 -2.2 a3.2 3.2 0 0 1 4.5 4.5 L15.5 13", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linecap": "round" }]],
  lecture: [["path", { d: "M3.5 5 h17 M5 5 v9.5 h14 V5 M12 14.5 v2.5 M8.5 20 L12 17 L15.5 20", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linejoin": "round", "stroke-linecap": "round" }]],
  keys: [["path", { d: "M4 8 h16 v9 h-16 z M7 11 h.1 M10.3 11 h.1 M13.6 11 h.1 M17 11 h.1 M8.5 14 h7", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linejoin": "round", "stroke-linecap": "round" }]],
  note: [["circle", { cx: 12, cy: 12, r: 8.5, fill: "none", stroke: "currentColor", "stroke-width": 1.6 }], ["path", { d: "M12 11 v5 M12 8 v.1", stroke: "currentColor", "stroke-width": 1.8, "stroke-linecap": "round" }]],
};

export function icon(name) {
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, ...ICONS[name].map(([tag, props]) => svg(tag, props)));
}

/** Called by the host: fetches the page data, wraps Gradio's wires into a transport, mounts the page. */
export async function open({ base, send, server }) {
  const response = await fetch(`${base}page.json`);
  if (!response.ok) throw new Error(`page data: ${response.status}`);
  const data = await response.json();
  const fresh = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  const start = (name) => (request) => {
    const run = fresh();
    send(name, { ...request, run });
    return run;
  };
  const transport = {
    run: start("run"),
    measure: start("measure"),
    cancel: (run) => server.cancel(run).catch(() => false),
    cancelMeasure: (run) => server.cancel_measure(run).catch(() => false),
    refetch: (run, from) => server.refetch(run, from).catch(() => []),
    alive: () => fetch(`${base}alive`, { cache: "no-store" }).then((r) => r.ok, () => false),
    trace: async (url) => {
      const answer = await fetch(new URL(url.replace(/^unfold\//, ""), base));
      if (!answer.ok) throw new Error(`trace: ${answer.status}`);
      return answer.text();
    },
  };
  const element = document.getElementById("unfold-page") ?? document.body.insertAdjacentElement("afterbegin", el("div", { id: "unfold-page" }));
  return mountPage(element, { data, transport });
}
