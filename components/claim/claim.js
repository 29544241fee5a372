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
      const r = inPercent(state.result);
      const judged = r ? (r.holds === true ? "holds" : r.holds === false ? "fails" : r.threshold ? "undecided" : "report") : "none";
      verdict.dataset.verdict = judged;
      set(verdict, el("span", { "aria-hidden": "true", class: "claim-mark" }, { holds: "✓", fails: "✕", undecided: "~", report: "·", none: "·" }[judged]), words(`claim.${judged}`));
      set(figures);
      set(conditions);
      if (r) {
        put(figures, r.kind === "law" ? lawFigures(r, words) : plainFigures(r, words));
        const line = r.kind !== "law" && numberLine(r, words);
        if (line) put(figures, line);
        if (r.points?.length) put(figures, r.kind === "law" ? twins(r.points, words) : points(r.points, state, words, `points.${exhibit.slug}.${claim.id}`, known));
        if (r.reason) put(figures, el("p", { class: "claim-reason" }, r.reason));
        put(conditions, describe(r));
      }
      node.dataset.running = state.run ? "yes" : "no";
      button.textContent = state.run ? words("claim.cancel") : words(state.fresh ? "claim.again" : "claim.measure", { time: words(seconds() < 90 ? "claim.seconds" : "claim.minutes", { n: seconds() < 90 ? seconds() : Math.round(seconds() / 60) }) });
      bar.hidden = !state.run;
    }

    function describe(r) {
      const c = r.conditions ?? {};
      const parts = [];
      if (r.n != null) parts.push(words("claim.n", { n: Number(r.n).toLocaleString("en") }));
      if (r.test) parts.push(powers(r.test));
      if (r.baseline) parts.push(words("claim.against", { baseline: r.baseline }));
      if (c.parameters) parts.push(words("claim.parameters", { n: sizes(c.parameters) }));
      if (c.threads) parts.push(words(c.threads === 1 ? "claim.thread" : "claim.threads", { n: c.threads }));
      if (c.device) parts.push(String(c.device).replace(/^cpu$/, "CPU"));
      const meta = exhibit.results_meta ?? {};
      parts.push(state.fresh ? words("claim.now") : [words("claim.shipped"), meta.date].filter(Boolean).join(" "));
      return parts.filter(Boolean).join(" · ");
    }

    function seconds() {
      return state.result?.seconds ? Math.max(1, Math.round(state.result.seconds)) : 40;
    }

    /** How the page calls what a measurement names by its name in the code: a lane, a setting or one of its choices. */
    function known(name) {
      const lane = exhibit.lanes.find((l) => l.id === name);
      const choice = exhibit.settings.flatMap((s) => s.choices ?? []).find((c) => c.value === name);
      const setting = exhibit.settings.find((s) => name.startsWith(`${s.name} `));
      return lane?.title ?? choice?.label ?? (setting ? setting.label + name.slice(setting.name.length) : name);
    }

    function sizes(parameters) {
      const millions = (n) => `${short(n / 1e6)} M`;
      return typeof parameters === "number" ? millions(parameters) : Object.entries(parameters).map(([name, n]) => `${known(name)} ${millions(n)}`).join(", ");
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

function figure(label, value, unit, range, where) {
  return el("div", { class: "claim-figure" }, el("span", { class: "claim-label" }, label),
    el("span", { class: "claim-number" }, value), unit && el("span", { class: "claim-unit" }, unit),
    range && el("span", { class: "claim-interval" }, range), where && el("span", { class: "claim-where" }, where));
}

/** A share is read in percent, a difference of shares in points. Cases that are counted stay cases. */
function inPercent(r) {
  const of = r?.kind !== "exact" && /^share of (.*)/.exec(r?.unit ?? "")?.[1];
  if (!of) return r;
  const up = (v) => (typeof v === "number" ? v * 100 : v);
  const bounds = (d) => ({ ...d, y: up(d.y), low: up(d.low), high: up(d.high) });
  const { threshold, paper } = r;
  return { ...r, here: up(r.here), low: up(r.low), high: up(r.high), share: true, unit: `${r.kind === "difference" ? "points" : "%"} of ${of}`,
    threshold: threshold && { ...threshold, value: up(threshold.value) }, paper: paper && { ...paper, value: up(paper.value) }, points: r.points?.map(bounds) };
}

/** What was found and what the paper says. A share of cases is said as cases: "60 of 60 runs". */
function plainFigures(r, words) {
  const range = r.low != null && r.high != null && (r.low !== r.here || r.high !== r.here) && words("claim.range", { low: short(r.low), high: short(r.high) });
  const cases = r.kind === "exact" && r.n && /^share of /.test(r.unit ?? "");
  const here = cases
    ? figure(words("claim.here"), words("claim.cases", { k: Math.round(r.here * r.n).toLocaleString("en"), n: Number(r.n).toLocaleString("en") }), r.unit.replace(/^share of /, ""), null)
    : figure(words("claim.here"), short(r.here), r.unit, range);
  if (r.paper?.value == null) return [here, source(r, words)];
  const paper = cases && r.paper.value === 1 ? words("claim.all") : short(r.paper.value);
  return [here, figure(words("claim.paper"), paper, r.paper.unit || (cases ? "" : r.unit), null, r.paper.where && `(${r.paper.where})`)];
}

/** A p-value in plain words: how often chance alone would bring a gap like the one that was found. */
function lawFigures(r, words) {
  const p = r.p ?? r.here;
  const said = words(p >= 0.001 ? "claim.law.fits" : "claim.law.differs", { often: often(p, words), n: Number(r.n).toLocaleString("en") });
  return [el("p", { class: "claim-law" }, said), source(r, words)];
}

/** Where the paper says it; what is not the paper's but ours says so itself. */
function source(r, words) {
  const where = r.paper?.where;
  return where && el("p", { class: "claim-where" }, /^ours\b/.test(where) ? where : `${words("claim.paper")}: ${where}`);
}

function often(p, words) {
  if (p >= 0.095) return words("claim.often.of", { k: Math.round(p * 100), n: 100 });
  if (p >= 0.001) return words("claim.often.of", { k: Math.max(1, Math.round(p * 1000)), n: "1,000" });
  return words(p < 1e-6 ? "claim.often.never" : "claim.often.hardly");
}

/** The deliberately broken samplers beside the real one: a test that nothing fails says nothing. */
function twins(list, words) {
  return el("div", { class: "claim-twins" }, el("p", { class: "claim-label" }, words("claim.twins")),
    el("ul", {}, list.map((d) => {
      const caught = d.caught ?? d.y < 1e-6;
      return el("li", {}, el("span", { class: "claim-mark", "aria-hidden": "true" }, caught ? "✓" : "✕"), el("span", {}, String(d.x)),
        el("span", { class: "claim-where" }, words(caught ? "claim.twin.caught" : "claim.twin.missed"), ` p ${d.y < 1e-12 ? "<" : "="} ${d.y < 1e-12 ? powers("1e-12") : short(d.y)}`));
    })));
}

/** Where our interval, the paper's figure, the threshold and "no difference" lie on one line. */
function numberLine(r, words) {
  const compared = r.kind === "time" || (r.kind === "ratio" && !r.share) || / over /.test(r.unit ?? "");
  const none = compared ? 1 : r.kind === "difference" ? 0 : null;
  const paper = r.paper?.value != null && !(r.paper.unit && r.unit && r.paper.unit !== r.unit && !(r.paper.unit === "x" && none === 1)) ? r.paper.value : null;
  const limit = r.threshold?.value ?? null;
  const even = none !== null && none !== paper && none !== limit ? none : null;
  const number = (v) => typeof v === "number" && Number.isFinite(v);
  const marks = [r.here, r.low, r.high, paper, limit, even].filter(number);
  if (!number(r.here) || marks.length < 2) return null;
  const min = Math.min(...marks);
  const max = Math.max(...marks);
  if (max - min < 1e-12) return null;
  const pad = (max - min) * 0.08;
  const x = (v) => 6 + ((v - min + pad) / (max - min + 2 * pad)) * 388;
  const parts = [svg("line", { x1: 0, x2: 400, y1: 16, y2: 16, class: "axis" })];
  const upright = (v, kind) => svg("line", { x1: x(v), x2: x(v), y1: 3, y2: 29, class: kind });
  if (even !== null) parts.push(upright(even, "even"));
  if (limit !== null) parts.push(upright(limit, "threshold"));
  if (number(r.low) && number(r.high) && r.high > r.low) {
    parts.push(svg("path", { d: `M${x(r.low)} 16 H${x(r.high)} M${x(r.low)} 10 V22 M${x(r.high)} 10 V22`, class: "interval" }));
  }
  if (paper !== null) parts.push(svg("path", { d: `M${x(paper)} 8 l7 8 l-7 8 l-7 -8 z`, class: "paper" }));
  parts.push(svg("circle", { cx: x(r.here), cy: 16, r: 5.5, class: "here" }));
  const sign = { ">=": "≥", "<=": "≤" }[r.threshold?.op] ?? r.threshold?.op ?? "";
  const legend = [
    ["here", `${words("claim.here")} ${short(r.here)}`],
    paper !== null && ["paper", `${words("claim.paper")} ${short(paper)}`],
    limit !== null && ["threshold", words("claim.threshold", { op: sign, value: short(limit) })],
    even !== null && ["even", words("claim.even", { value: even })],
  ];
  return el("div", { class: "claim-line" }, svg("svg", { viewBox: "0 0 400 32", "aria-hidden": "true" }, ...parts),
    el("p", { class: "claim-legend" }, legend.filter(Boolean).map(([kind, text]) => el("span", { "data-kind": kind }, text))));
}

/** The points behind a figure, one row each: name, bar from zero with its interval, number, and what else was noted. */
function points(list, state, words, key, known) {
  const rows = list.filter((d) => typeof d.y === "number" && Number.isFinite(d.y)).slice(0, 40);
  const all = rows.flatMap((d) => [d.y, d.low, d.high]).filter((v) => typeof v === "number" && Number.isFinite(v));
  const min = Math.min(0, ...all);
  const span = Math.max(0, ...all) - min || 1;
  const x = (v) => ((v - min) / span) * 100;
  const extra = Object.keys(rows[0] ?? {}).find((k) => !["x", "y", "low", "high", "n", "caught"].includes(k) && rows.every((d) => typeof d[k] === "number"));
  const titled = (name) => (words(name) === name ? "" : words(name));
  const row = (d) => el("li", {}, el("span", { class: "point-name" }, typeof d.x === "number" ? short(d.x) : known(String(d.x))),
    svg("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { x: Math.min(x(0), x(d.y)), width: Math.max(Math.abs(x(d.y) - x(0)), 0.4), y: 2, height: 10, class: "bar" }),
      d.low != null && d.high > d.low ? svg("path", { d: `M${x(d.low)} 7 H${x(d.high)}`, class: "interval" }) : svg("g"),
      svg("line", { x1: x(0), x2: x(0), y1: 0, y2: 14, class: "axis" })),
    el("span", { class: "point-value" }, short(d.y)), extra && el("span", { class: "point-value point-extra" }, short(d[extra])));
  const head = (titled(key) || extra) && el("li", { class: "point-head" }, el("span"), el("span"), el("span", { class: "point-value" }, titled(key)),
    extra && el("span", { class: "point-value" }, titled(`points.${extra}`) || extra.replaceAll("_", " ")));
  const box = el("details", { class: "claim-points", ontoggle: () => { state.unfolded = box.open; } }, el("summary", {}, words("claim.points", { n: rows.length })),
    el("ul", { "data-extra": Boolean(extra) }, head, rows.map(row)));
  box.open = Boolean(state.unfolded);
  return box;
}

const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** 1e-6 as 10⁻⁶, wherever it stands in a text. */
function powers(text) {
  return String(text).replace(/(\d+(?:\.\d+)?)e([+-]?)0*(\d+)/g, (_, head, sign, tail) => `${head === "1" ? "" : `${head} × `}10${[...(sign === "-" ? "-" : ""), ...tail].map((c) => RAISED[c]).join("")}`);
}

export function short(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return value == null ? "–" : String(value);
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return powers(value.toExponential(1));
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Number(value.toPrecision(3)).toString();
}
