// The timeline: one strip a lane, a shape for each kind of event, a playhead, and the buttons of a player.
// The strips are painted once per change of the trace; moving the playhead moves two elements and paints nothing.

import { isPicture } from "../player/player.js";
import { make, words } from "../player/words.js";

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];
const RANK = { reject: 6, failed: 6, withdraw: 5, accept: 4, propose: 3, commit: 2, preview: 1 };
const ICONS = {
  first: "M3 3h2v10H3z M13 3v10L6 8z",
  back: "M11 3v10L4 8z",
  play: "M4.5 2.5v11l9-5.5z",
  pause: "M4 3h3v10H4z M9 3h3v10H9z",
  forward: "M5 3v10l7-5z",
  last: "M11 3h2v10h-2z M3 3v10l7-5z",
  more: "M2 7h2.4v2.4H2z M6.8 7h2.4v2.4H6.8z M11.6 7H14v2.4h-2.4z",
};
const PAD = 12;
const WRITTEN = { plane: "jump", graph: "variable", series: "latent" }; // what one commit is called there

const icon = (name) => make("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, make("path", { d: ICONS[name] }));

/**
 * options: keys (element that listens to the keyboard; default the timeline and all beside it in its parent),
 * letters (single letter keys, default true). Returns {draw, destroy, key(event)}.
 */
export function mount(element, player, { strings = {}, options = {} } = {}) {
  const t = words(strings);
  element.classList.add("uf-timeline");
  const button = (name, label, action, extra = {}) => make("button", { type: "button", "aria-label": label, title: label, class: `uf-${name}`, onclick: action, ...extra }, icon(name));
  const play = button("play", t("timeline.play"), toggle);
  const more = button("more", t("timeline.more"), () => more.setAttribute("aria-expanded", String(element.toggleAttribute("data-more"))), { "aria-expanded": "false" });
  const choose = (label, entries, value, change) => {
    const select = make("select", { "aria-label": label, onchange: () => change(select.value) }, ...entries.map(([v, name]) => make("option", { value: v, selected: v === value }, name)));
    return select;
  };
  const speed = choose(t("timeline.speed"), SPEEDS.map((s) => [String(s), `${s}\u00d7`]), String(player.speed), (v) => player.setSpeed(Number(v)));
  const unit = choose(t("timeline.step"), ["event", "forward", "commit", "phase"].map((u) => [u, t(`timeline.step.${u}`)]), player.granularity, (v) => player.setGranularity(v));
  // What is written, and what a round is called, the run itself says.
  function nameUnits() {
    const firsts = player.lanes.map((id) => player.events(id));
    const canvas = firsts.find(([begin]) => begin?.canvases)?.[0].canvases[0];
    const phase = firsts.flatMap((events) => events.find((e) => e.kind === "phase")?.unit ?? []).at(0);
    unit.options[2].textContent = t(`timeline.step.${isPicture(canvas) ? "place" : WRITTEN[canvas?.kind] ?? "commit"}`);
    unit.options[3].textContent = phase ? t(`timeline.unit.${phase}`) : t("timeline.step.phase");
  }
  const clock = choose(t("timeline.clock"), ["event", "calls", "clock"].map((c) => [c, t(`timeline.clock.${c}`)]), player.clock, (v) => player.setClock(v));
  const pick = (name, select) => make("label", { class: "uf-pick" }, name, select);
  const where = make("span", { class: "uf-where" });
  const liveWord = make("span");
  const live = make("button", { type: "button", class: "uf-live", hidden: true, onclick: () => player.goLive() }, make("span", { class: "uf-live-dot" }), liveWord);
  const bar = make("div", { class: "uf-bar" },
    button("first", t("timeline.first"), () => { player.pause(); player.seek(0); }),
    button("back", t("timeline.back"), () => player.step(-1)), play,
    button("forward", t("timeline.forward"), () => player.step(1)),
    button("last", t("timeline.last"), () => { player.pause(); player.seek(player.length); }),
    pick("", speed), pick(t("timeline.step"), unit), make("span", { class: "uf-gap" }), pick(t("timeline.clock"), clock), where, live, more);
  const canvas = make("canvas", { "aria-hidden": "true" });
  const future = make("div", { class: "uf-future" });
  const playhead = make("div", { class: "uf-playhead", role: "slider", tabindex: "0", "aria-label": t("timeline.label"), "aria-valuemin": "0" });
  const strips = make("div", { class: "uf-strips" }, canvas, future, playhead);
  element.replaceChildren(bar, strips);

  let order = null;
  let width = 0;
  let start = PAD;
  let span = 1;
  let colours = null;
  let pending = 0;
  let spoken = "";

  function toggle() {
    if (player.playing) player.pause();
    else player.play();
  }

  // ---- the strips

  const x = (key) => start + ((width - PAD - start) * key) / Math.max(span, 1e-9);

  function palette() {
    const style = getComputedStyle(element);
    return new Proxy({}, { get: (cache, name) => (cache[name] ??= style.getPropertyValue(`--${name}`).trim() || style.color) });
  }

  function paint() {
    order = player.layout();
    nameUnits();
    width = strips.clientWidth;
    if (!width) return;
    colours ??= palette();
    const small = matchMedia("(max-width: 767px)").matches;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    const laneHeight = Math.round((small ? 20 : 26) * rem);
    const height = Math.max(order.lanes.length, 1) * laneHeight + (small ? 4 : 8);
    span = axisSpan();
    start = !small && order.lanes.length > 1 && width > 560 ? Math.round((width > 640 ? 146 : 110) * rem) : PAD;
    const ratio = globalThis.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    order.lanes.forEach((lane, l) => paintLane(pen, lane, l, (small ? 2 : 6) + l * laneHeight, laneHeight, rem * (small ? 0.8 : 1)));
  }

  /** While a run is still coming the axis has room for what is expected, so that it does not slide with every event. */
  function axisSpan() {
    if (player.ended) return order.span;
    if (player.clock === "calls") {
      const expected = order.lanes.map((lane) => lane.expected ?? (lane.open ? 48 : player.state(lane.id).blanks));
      return Math.max(order.span, ...expected) + 1;
    }
    return 1.5 ** Math.ceil(Math.log(Math.max(order.span, 8)) / Math.log(1.5));
  }

  function paintLane(pen, lane, l, top, height, scale) {
    const middle = top + height / 2;
    if (start > PAD) {
      pen.fillStyle = colours.muted;
      pen.font = `${Math.round(12 * scale)}px ${getComputedStyle(element).fontFamily}`;
      pen.textBaseline = "middle";
      pen.fillText(fitted(pen, player.title(lane.id), start - 16), 2, middle);
    }
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(start - 4, middle);
    pen.lineTo(width - PAD, middle);
    pen.stroke();
    const marks = [];
    let last = null;
    order.items.forEach((item, i) => {
      if (item.lane !== l) return;
      const event = lane.events[item.n];
      const at = x(order.axis[i]);
      if (event.kind === "forward" && lane.sideNets.has(event.net)) return;
      if (event.kind === "forward") marks.push({ at, kind: "forward", main: !lane.draftNets.has(event.net), event });
      else if (event.kind === "note") marks.push({ at, kind: "note" });
      // In a plane all walkers step at once, some refused, some not: one mark a step.
      else if (event.kind in RANK && (lane.kind !== "plane" || event.kind === "commit")) {
        const { call } = lane.index[item.n];
        const cells = (event.cells ?? []).reduce((a, c) => a + (Array.isArray(c) ? c[1] - c[0] : 1), 0);
        if (last && last.group === item.group && Math.abs(last.at - at) < 0.01) {
          if (RANK[event.kind] > RANK[last.kind]) last.kind = event.kind;
          if (last.kind === event.kind) last.cells = Math.max(last.cells, cells);
        } else marks.push((last = { at, kind: event.kind, cells, group: item.group, call }));
      }
    });
    // Forward passes are bars behind the verdicts; of what falls on one pixel the rarest is drawn.
    const bars = marks.filter((m) => m.kind === "forward");
    const room = bars.length > 1 ? (width - PAD - start) / Math.max(span, bars.length) : 40;
    const shown = marks.filter((m) => m.kind in RANK).sort((a, b) => a.at - b.at || RANK[a.kind] - RANK[b.kind]);
    for (let i = shown.length - 1, next = Infinity; i >= 0; i--) {
      const mark = shown[i];
      if (shown[i + 1] && shown[i + 1].at > mark.at + 0.5) next = shown[i + 1].at;
      mark.room = Math.min(next - mark.at, 40);
    }
    const crowded = shown.filter((m) => m.room < 6).length > shown.length / 4;
    for (const bar of bars) {
      if (!bar.main && (room < 8 || crowded)) continue;
      pen.strokeStyle = bar.main ? colours.muted : colours["control-line"];
      pen.lineWidth = bar.main ? Math.min(1.5, room / 3) : 1;
      const reach = height * (bar.main ? 0.36 : 0.2);
      pen.beginPath();
      pen.moveTo(bar.at, middle - reach);
      pen.lineTo(bar.at, middle + reach);
      pen.stroke();
    }
    const end = ["done", "failed"].includes(lane.events[lane.events.length - 1]?.kind);
    if (crowded && shown.some((m) => m.kind === "accept" || m.kind === "reject")) {
      const far = towers(pen, shown, middle, height, scale);
      edge(pen, lane, end, Math.max(far + 5, ...bars.slice(-1).map((b) => b.at + 4)), middle, height);
      return;
    }
    const bin = crowded ? 5 * scale : 2;
    const bins = new Map();
    for (const mark of shown) {
      const slot = Math.floor(mark.at / bin);
      const rival = bins.get(slot);
      if (!rival || RANK[mark.kind] >= RANK[rival.kind]) bins.set(slot, mark);
    }
    const drawn = [...bins.values()];
    let tip = start;
    drawn.forEach((mark, i) => { mark.room = Math.max((drawn[i + 1]?.at ?? mark.at + 40) - mark.at, bin); });
    // Verdicts of one check are of one size, although the last of them has more room behind it.
    drawn.forEach((mark, i) => { if (i && mark.call === drawn[i - 1].call && mark.kind !== "propose" && drawn[i - 1].kind !== "propose") mark.room = Math.min(mark.room, Math.max(drawn[i - 1].room, 4.5)); });
    for (const mark of drawn) {
      const r = Math.max(1.8, Math.min(4.2 * scale, mark.room * 0.36));
      const many = mark.kind === "propose" || mark.kind === "commit" ? mark.cells : 1;
      const step = r * 2.5;
      const n = Math.max(1, Math.min(many, Math.floor((mark.room - r) / step), 8));
      const shift = mark.room > 9 ? Math.min(7 * scale, mark.room * 0.3) : 0;
      for (let k = 0; k < n; k++) shape(pen, mark.kind, mark.at + shift + k * step, middle, r);
      tip = Math.max(tip, mark.at + shift + (n - 1) * step + r + 4);
    }
    edge(pen, lane, end, Math.max(tip, ...bars.slice(-1).map((b) => b.at + 4)), middle, height);
  }

  /** Where calls stand close, the verdicts of a check are stacked: a tower a call, as high as what it judged. */
  function towers(pen, shown, middle, height, scale) {
    const calls = new Map();
    for (const mark of shown) if (mark.kind !== "propose") calls.set(mark.call, [...(calls.get(mark.call) ?? []), mark]);
    let far = start;
    for (const marks of calls.values()) {
      const pitch = Math.min(5.4 * scale, (height - 4) / marks.length);
      const at = marks.reduce((sum, m) => sum + m.at, 0) / marks.length;
      marks.forEach((mark, k) => shape(pen, mark.kind, at, middle + height / 2 - 4 - k * pitch, pitch * 0.36));
      far = Math.max(far, at);
    }
    return far;
  }

  function fitted(pen, title, room) {
    if (pen.measureText(title).width <= room) return title;
    let cut = title;
    while (cut && pen.measureText(`${cut}\u2026`).width > room) cut = cut.slice(0, -1);
    return `${cut.trimEnd()}\u2026`;
  }

  function edge(pen, lane, end, tip, middle, height) {
    if (!lane.events.length) return;
    const at = Math.min(tip, width - 8);
    const reach = height * 0.34;
    pen.strokeStyle = colours.ink;
    pen.lineWidth = 1.5;
    pen.beginPath();
    if (end) {
      // finished: a double bar, as at the end of a piece of music
      pen.moveTo(at, middle - reach);
      pen.lineTo(at, middle + reach);
      pen.stroke();
      pen.lineWidth = 2.5;
      pen.beginPath();
      pen.moveTo(at + 4, middle - reach);
      pen.lineTo(at + 4, middle + reach);
    } else if (!player.ended) {
      pen.moveTo(at + 5, middle - reach);
      pen.lineTo(at, middle - reach);
      pen.lineTo(at, middle + reach);
      pen.lineTo(at + 5, middle + reach);
    }
    pen.stroke();
  }

  function shape(pen, kind, cx, cy, r) {
    pen.lineWidth = Math.max(1.2, r * 0.42);
    pen.setLineDash([]);
    pen.beginPath();
    if (kind === "propose") {
      pen.strokeStyle = colours.proposed;
      pen.setLineDash(r > 2.5 ? [1.6, 1.5] : []);
      pen.arc(cx, cy, r, 0, 7);
      pen.stroke();
      pen.setLineDash([]);
    } else if (kind === "accept") {
      pen.strokeStyle = colours.accepted;
      pen.arc(cx, cy, r, 0, 7);
      pen.stroke();
      if (r > 3) {
        pen.beginPath();
        pen.fillStyle = colours.accepted;
        pen.arc(cx, cy, r * 0.36, 0, 7);
        pen.fill();
      }
    } else if (kind === "reject" || kind === "failed") {
      pen.strokeStyle = colours.rejected;
      pen.lineWidth = Math.max(1.6, r * 0.55);
      pen.moveTo(cx - r, cy - r);
      pen.lineTo(cx + r, cy + r);
      pen.moveTo(cx + r, cy - r);
      pen.lineTo(cx - r, cy + r);
      pen.stroke();
    } else if (kind === "withdraw") {
      pen.strokeStyle = colours.withdrawn;
      pen.moveTo(cx + r * 0.7, cy - r);
      pen.lineTo(cx - r * 0.8, cy);
      pen.lineTo(cx + r * 0.7, cy + r);
      pen.stroke();
    } else if (kind === "commit") {
      pen.fillStyle = colours.committed;
      pen.rect(cx - r * 0.8, cy - r * 0.8, r * 1.6, r * 1.6);
      pen.fill();
    } else {
      pen.fillStyle = colours.muted;
      pen.rect(cx - r * 0.6, cy - r * 0.6, r * 1.2, r * 1.2);
      pen.fill();
    }
  }

  // ---- the playhead

  /** Where the cursor stands on the axis: between the events it has passed and the next beat. */
  function headX() {
    const at = player.cursor.at;
    if (at <= 0 || !order.items.length) return start - 4;
    const here = x(order.axis[at - 1]);
    const next = order.axis.subarray(at).find((key) => key > order.axis[at - 1]);
    const room = (next === undefined ? width - PAD : x(next)) - here;
    return Math.min(here + Math.min(room * 0.9, 14), width - 2);
  }

  function draw() {
    pending = 0;
    if (order !== player.layout() || width !== strips.clientWidth || !colours) paint();
    if (!width) return;
    const px = headX();
    playhead.style.transform = `translateX(${px.toFixed(1)}px)`;
    future.style.transform = `scaleX(${((width - px) / width).toFixed(4)})`;
    const { items } = order;
    const { at } = player.cursor;
    playhead.setAttribute("aria-valuemax", String(items.length));
    playhead.setAttribute("aria-valuenow", String(at));
    const said = t("timeline.value", { i: at, m: items.length, lanes: order.lanes.map((lane) => {
      const state = player.state(lane.id);
      return t("timeline.value.lane", { title: player.title(lane.id), calls: state.calls, written: state.written });
    }).join(", ") });
    if (said !== spoken) playhead.setAttribute("aria-valuetext", (spoken = said));
    const item = items[at - 1];
    const n = item ? (player.clock === "event" ? item.key + 1 : player.clock === "calls" ? item.key : Math.round(player.current.t ?? 0)) : 0;
    set(where, t(`timeline.at.${player.clock}`, { n }));
    const name = player.playing ? "pause" : "play";
    if (play.dataset.icon !== name) {
      play.dataset.icon = name;
      play.replaceChildren(icon(name));
      play.setAttribute("aria-label", t(`timeline.${name}`));
      play.title = t(`timeline.${name}`);
    }
    live.hidden = player.ended || !items.length;
    const isLive = player.cursor.mode === "live";
    live.setAttribute("aria-pressed", String(isLive));
    set(liveWord, t(isLive ? "timeline.live" : "timeline.golive"));
    for (const [select, value] of [[speed, String(player.speed)], [unit, player.granularity], [clock, player.clock]]) if (select.value !== value) select.value = value;
  }

  function set(node, value) {
    if (node.textContent !== value) node.textContent = value;
  }

  // ---- pointer and keyboard

  function scrub(event) {
    const box = strips.getBoundingClientRect();
    const want = event.clientX - box.left - 4;
    // The axis rises with the position: the last beat that starts left of the pointer.
    const { axis, beats } = order;
    let low = 0;
    let high = beats.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (x(axis[beats[mid].start]) <= want) low = mid + 1;
      else high = mid;
    }
    let at = low ? beats[low - 1].end : 0;
    if (event.shiftKey && low) {
      const beat = beats[low - 1];
      const next = beats[low] ? x(axis[beats[low].start]) : width - PAD;
      const share = (want - x(axis[beat.start])) / Math.max(next - x(axis[beat.start]), 1);
      at = beat.start + Math.ceil(share * (beat.end - beat.start));
    }
    player.seek(at);
  }

  strips.addEventListener("pointerdown", (event) => {
    if (event.button || !order?.items.length) return;
    player.pause();
    strips.setPointerCapture(event.pointerId);
    playhead.focus({ preventScroll: true });
    scrub(event);
    event.preventDefault();
  });
  strips.addEventListener("pointermove", (event) => {
    if (strips.hasPointerCapture(event.pointerId)) scrub(event);
  });

  function key(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    const target = event.target;
    if (target.closest?.("input, select, textarea, [contenteditable]")) return;
    const onButton = target.closest?.("button, a, summary");
    const tenth = Math.max(1, Math.round(player.length / 10));
    const k = event.key;
    if (k === " " && !onButton) toggle();
    else if (k === "ArrowRight") player.step(1, event.shiftKey ? "forward" : undefined);
    else if (k === "ArrowLeft") player.step(-1, event.shiftKey ? "forward" : undefined);
    else if (k === "Home" || k === "End") { player.pause(); player.seek(k === "Home" ? 0 : player.length); }
    else if ((k === "PageUp" || k === "PageDown") && target === playhead) { player.pause(); player.seek(player.cursor.at + (k === "PageUp" ? tenth : -tenth)); }
    else if ((k === "," || k === ".") && options.letters !== false) {
      const i = SPEEDS.indexOf(player.speed) + (k === "." ? 1 : -1);
      if (SPEEDS[i]) player.setSpeed(SPEEDS[i]);
    } else if ((k === "l" || k === "L") && options.letters !== false) player.goLive();
    else return;
    event.preventDefault();
  }

  const keys = options.keys ?? element.parentElement ?? element;
  keys.addEventListener("keydown", key);
  const later = () => { pending ||= requestAnimationFrame(draw); };
  const off = [player.on("change", later)];
  const resize = new ResizeObserver(later);
  resize.observe(strips);
  const repaint = () => {
    colours = null;
    later();
  };
  const themes = new MutationObserver(repaint);
  for (const node of [document.documentElement, document.body]) themes.observe(node, { attributes: true, attributeFilter: ["class", "data-theme"] });
  draw();

  return {
    draw,
    key,
    destroy() {
      off.forEach((f) => f());
      resize.disconnect();
      themes.disconnect();
      cancelAnimationFrame(pending);
      keys.removeEventListener("keydown", key);
      element.classList.remove("uf-timeline");
      element.replaceChildren();
    },
  };
}
