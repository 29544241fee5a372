// All events as a table of text: for readers who cannot see the stage, and for tests.

import { expand } from "./player.js";
import { isPunctuation, make, shown, words } from "./words.js";

const list = (values) => `${typeof values[0] === "number" ? "code " : ""}${values.map((v, i) => `${i && !isPunctuation(v) ? " " : ""}${v == null ? "?" : shown(v)}`).join("")}`;
const number = (x) => (typeof x === "number" ? String(Number(x.toPrecision(4))) : String(x ?? ""));

/** One event in plain words. */
export function describe(event) {
  switch (event.kind) {
    case "begin": return [event.title, event.given?.values?.length && `given: ${list(event.given.values)}`].filter(Boolean).join("; ");
    case "phase": return `${event.unit} ${event.index + 1}${event.of ? ` of ${event.of}` : ""} ${event.state ?? ""}`;
    case "forward": return `${event.net} ${event.mode ?? ""}, call ${event.calls}, ${number(event.ms)} ms, reads ${expand(event.reads).length}, computes ${expand(event.computes).length}`;
    case "propose": return `${list(event.values)} (${(event.p ?? []).map(number).join(" ")})`;
    case "accept": return `kept: ratio ${(event.ratio ?? []).map(number).join(" ")}, drawn ${(event.u ?? []).map(number).join(" ")}`;
    case "reject": return `struck: ratio ${(event.ratio ?? []).map(number).join(" ")}, drawn ${(event.u ?? []).map(number).join(" ")}${event.replacement ? `, now ${list(event.replacement)}` : ""}`;
    case "commit": return `${list(event.values ?? [])} (${event.origin})`;
    case "withdraw": return event.why ?? "";
    case "preview": return `${event.name} ${(event.shape ?? []).join("x")}`;
    case "measure": return `${event.name} ${number(event.value)} ${event.unit ?? ""}`;
    case "note": return event.text ?? "";
    case "done": return event.reason ?? "";
    case "failed": return `${event.message ?? ""} ${event.fix ?? ""}`;
    default: return "";
  }
}

function cellsOf(event) {
  return (event.cells ?? []).map((c) => (Array.isArray(c) ? `${c[0] + 1}-${c[1]}` : c + 1)).join(" ");
}

/** The table; rows are added as events come, a click on a row moves the cursor there. */
export function mount(element, player, { strings = {} } = {}) {
  const t = words(strings);
  const columns = ["lane", "n", "t", "kind", "cells", "says"];
  const body = make("tbody");
  const head = make("tr", {}, ...columns.map((c) => make("th", { scope: "col" }, t(`table.${c}`))));
  const table = make("table", { class: "uf-table" }, make("caption", {}, t("table.caption")), make("thead", {}, head), body);
  element.classList.add("uf-table-box");
  element.replaceChildren(table);
  let rows = new Map();
  let drawn = null;
  let clock = null;
  let version = -1;
  let pending = 0;
  let marked = null;

  function row(event) {
    const cells = [player.title(event.lane), event.n, number(event.t), event.kind, cellsOf(event), describe(event)];
    return make("tr", { "data-lane": event.lane, "data-n": event.n, "data-kind": event.kind }, ...cells.map((c) => make("td", {}, String(c ?? ""))));
  }

  function draw() {
    pending = 0;
    if (element.offsetParent === null && rows.size) return;
    const layout = player.layout();
    const { items, lanes } = layout;
    if (version !== player.version || clock !== player.clock) {
      rows = new Map();
      body.replaceChildren();
      version = player.version;
      clock = player.clock;
    }
    if (layout !== drawn) items.forEach((item, i) => {
      const event = lanes[item.lane].events[item.n];
      let tr = rows.get(event);
      if (!tr) rows.set(event, (tr = row(event)));
      if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] ?? null);
    });
    drawn = layout;
    const now = player.current;
    const tr = now && rows.get(now);
    if (tr !== marked) {
      marked?.removeAttribute("aria-current");
      tr?.setAttribute("aria-current", "step");
      marked = tr;
    }
  }

  body.addEventListener("click", (event) => {
    const tr = event.target.closest("tr");
    if (tr) player.seekEvent(tr.dataset.lane, Number(tr.dataset.n));
  });
  const off = player.on("change", () => { pending ||= requestAnimationFrame(draw); });
  // A folded table is not kept up to date: it catches up when it is opened.
  const unfold = new ResizeObserver(draw);
  unfold.observe(element);
  draw();
  return {
    draw,
    destroy() {
      off();
      unfold.disconnect();
      cancelAnimationFrame(pending);
      element.replaceChildren();
    },
  };
}
