// The paper's claims: what it says, what was found here, how sure that is, and a button to measure again on this machine.

import { el, put, set, svg, wording } from "../shell/dom.js";

/** mount(element, {exhibit, strings, transport}) -> {receive(frame), destroy()} */
export function mount(element, { exhibit, strings, transport }) {
  const words = wording(strings);
  const cards = [...exhibit.claims].sort((a, b) => Number(b.must) - Number(a.must)).map((claim) => card(claim));
  put(element, el("div", { class: "claim-list" }, cards.map((c) => c.node)));

  function card(claim) {
    const shipped = exhibit.results?.[claim.id] ?? null;
    const verdict = el("p", { class: "claim-verdict" });
    const figures = el("div", { class: "claim-figures" });
    const conditions = el("p", { class: "claim-conditions" });
    const progress = el("div", { class: "claim-progress", role: "status" });
    const bar = el("span", { class: "claim-bar", hidden: true, "aria-hidden": "true" });
    const button = el("button", { type: "button", class: "button quiet", onclick: () => (state.run ? stop() : start()) });
    const node = el("article", { class: "claim", "data-claim": claim.id },
      el("h3", {}, claim.title || claim.text), claim.title && el("p", { class: "claim-text" }, claim.text),
      verdict, figures, conditions, el("div", { class: "claim-foot" }, button, bar, progress));
    const state = { run: null, seq: 0, started: 0, timer: 0, result: shipped, fresh: false };

    function draw() {
      const r = state.result;
      const judged = r ? (r.holds === true ? "holds" : r.holds === false ? "fails" : r.threshold ? "undecided" : "report") : "none";
      verdict.dataset.verdict = judged;
      set(verdict, el("span", { "aria-hidden": "true", class: "claim-mark" }, { holds: "✓", fails: "✕", undecided: "~", report: "·", none: "·" }[judged]), words(`claim.${judged}`));
      set(figures);
      set(conditions);
      if (r) {
        put(figures, figure(words("claim.here"), r.here, r, r.low, r.high), r.paper?.value != null && figure(words("claim.paper"), r.paper.value, { unit: r.paper.unit ?? r.unit }, null, null, r.paper.where));
        const line = numberLine(r, words);
        if (line) put(figures, line);
        if (r.points?.length > 1) put(figures, points(r.points, state, words));
        if (r.reason) put(figures, el("p", { class: "claim-reason" }, r.reason));
        put(conditions, describe(r));
      }
      node.dataset.running = state.run ? "yes" : "no";
      button.textContent = state.run ? words("claim.cancel") : words(state.fresh ? "claim.again" : "claim.measure", { seconds: seconds() });
      bar.hidden = !state.run;
    }

    function describe(r) {
      const c = r.conditions ?? {};
      const parts = [];
      if (r.n != null) parts.push(words("claim.n", { n: Number(r.n).toLocaleString("en") }));
      if (r.test) parts.push(r.p != null ? `${r.test}, p = ${short(r.p)}` : r.test);
      if (r.baseline) parts.push(words("claim.against", { baseline: r.baseline }));
      if (c.parameters) parts.push(words("claim.parameters", { n: typeof c.parameters === "number" ? short(c.parameters / 1e6) + " M" : String(c.parameters) }));
      if (c.threads) parts.push(words(c.threads === 1 ? "claim.thread" : "claim.threads", { n: c.threads }));
      if (c.device) parts.push(String(c.device));
      const meta = exhibit.results_meta ?? {};
      parts.push(state.fresh ? words("claim.now") : [words("claim.shipped"), meta.date].filter(Boolean).join(" "));
      return parts.filter(Boolean).join(" · ");
    }

    function seconds() {
      return state.result?.seconds ? Math.max(1, Math.round(state.result.seconds)) : 40;
    }

    function start() {
      state.run = transport.measure({ exhibit: exhibit.slug, claims: [claim.id] });
      state.started = performance.now();
      state.seq = 0;
      state.timer = setInterval(tick, 500);
      tick();
      draw();
    }

    function stop() {
      transport.cancelMeasure(state.run);
      over(words("claim.stopped"));
    }

    function over(said) {
      clearInterval(state.timer);
      state.run = null;
      progress.textContent = said;
      draw();
    }

    function tick() {
      const spent = (performance.now() - state.started) / 1000;
      bar.style.setProperty("--part", String(Math.min(0.97, 1 - Math.exp((-1.6 * spent) / seconds()))));
      const n = state.fresh ? state.result?.n : null;
      progress.textContent = state.waiting > 0 ? words("run.queued", { ahead: state.waiting })
        : words(n ? "claim.progress" : "claim.starting", { n: Number(n ?? 0).toLocaleString("en"), seconds: Math.round(spent) });
    }

    function receive(frame) {
      if (frame.run !== state.run || frame.seq < state.seq) return;
      state.seq = frame.seq + 1;
      state.waiting = frame.queue?.ahead ?? 0;
      if (frame.claim && frame.claim.id === claim.id) {
        state.result = frame.claim;
        state.fresh = true;
        draw();
      }
      const trouble = frame.refused ?? frame.failed;
      if (trouble) over(trouble.message);
      else if (frame.end) over(frame.end.reason === "cancelled" ? words("claim.stopped") : words("claim.done", { seconds: Math.round((performance.now() - state.started) / 1000) }));
    }

    draw();
    return { node, receive, stop: () => { if (state.run) stop(); } };
  }

  return {
    receive: (frame) => cards.forEach((c) => c.receive(frame)),
    destroy: () => cards.forEach((c) => c.stop()),
  };
}

function figure(label, value, { unit }, low, high, where) {
  const interval = low != null && high != null && (low !== value || high !== value) && el("span", { class: "claim-interval" }, `${short(low)} – ${short(high)}`);
  return el("div", { class: "claim-figure" }, el("span", { class: "claim-label" }, label),
    el("span", { class: "claim-number" }, short(value)), unit && el("span", { class: "claim-unit" }, unit), interval,
    where && el("span", { class: "claim-where" }, where));
}

/** Where our interval, the paper's figure and the threshold lie on one line. */
function numberLine(r, words) {
  const marks = [r.here, r.low, r.high, r.paper?.value, r.threshold?.value].filter((v) => typeof v === "number" && Number.isFinite(v));
  if (typeof r.here !== "number" || marks.length < 2) return null;
  const min = Math.min(...marks);
  const max = Math.max(...marks);
  if (max - min < 1e-12 || (r.paper?.unit && r.unit && r.paper.unit !== r.unit)) return null;
  const pad = (max - min) * 0.08;
  const x = (v) => 6 + ((v - min + pad) / (max - min + 2 * pad)) * 288;
  const parts = [svg("line", { x1: 0, x2: 300, y1: 16, y2: 16, class: "axis" })];
  if (r.threshold) parts.push(svg("line", { x1: x(r.threshold.value), x2: x(r.threshold.value), y1: 4, y2: 28, class: "threshold" }));
  if (r.low != null && r.high != null) parts.push(svg("line", { x1: x(r.low), x2: x(r.high), y1: 16, y2: 16, class: "interval" }));
  if (r.paper?.value != null) parts.push(svg("path", { d: `M${x(r.paper.value)} 9 l6 7 l-6 7 l-6 -7 z`, class: "paper" }));
  parts.push(svg("circle", { cx: x(r.here), cy: 16, r: 5, class: "here" }));
  const legend = [["here", words("claim.here")], r.paper?.value != null && ["paper", words("claim.paper")], r.threshold && ["threshold", words("claim.threshold", { op: { ">=": "≥", "<=": "≤" }[r.threshold.op] ?? r.threshold.op ?? "", value: short(r.threshold.value) })]];
  return el("div", { class: "claim-line" }, svg("svg", { viewBox: "0 0 300 32", "aria-hidden": "true" }, ...parts),
    el("p", { class: "claim-legend" }, legend.filter(Boolean).map(([kind, text]) => el("span", { "data-kind": kind }, text))));
}

/** The points behind a figure, one row each: name, place on a common scale with its interval, number. */
function points(list, state, words) {
  const rows = list.filter((d) => typeof d.y === "number" && Number.isFinite(d.y)).slice(0, 40);
  const all = rows.flatMap((d) => [d.y, d.low, d.high]).filter((v) => typeof v === "number" && Number.isFinite(v));
  const min = Math.min(0, ...all);
  const span = Math.max(...all) - min || 1;
  const x = (v) => 2 + ((v - min) / span) * 96;
  const row = (d) => el("li", {}, el("span", { class: "point-name" }, typeof d.x === "number" ? short(d.x) : String(d.x)),
    svg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("line", { x1: 0, x2: 100, y1: 6, y2: 6, class: "axis" }),
      d.low != null && d.high != null ? svg("line", { x1: x(d.low), x2: x(d.high), y1: 6, y2: 6, class: "interval" }) : svg("g"),
      svg("line", { x1: x(d.y), x2: x(d.y), y1: 1, y2: 11, class: "here" })),
    el("span", { class: "point-value" }, short(d.y)));
  const box = el("details", { class: "claim-points", ontoggle: () => { state.unfolded = box.open; } }, el("summary", {}, words("claim.points", { n: rows.length })), el("ul", {}, rows.map(row)));
  box.open = Boolean(state.unfolded);
  return box;
}

export function short(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return value == null ? "–" : String(value);
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(1);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Number(value.toPrecision(3)).toString();
}
