// The portrait of an exhibit: the thread from each decision of its recorded run to the next, in the order ramp.
// Text: cells on a line, an arc for each step. Films: a few frames, and when each was painted. Pictures: what came out, and beside it cells on their grid with a path
// through them, or growing squares.

import { svg } from "../shell/dom.js";
import { expand, isPicture } from "../player/player.js";
import { addressOf } from "../stage/picture.js";

const WIDTH = 240;
const HEIGHT = 64;
const SHOWN = HEIGHT - 8; // side of the picture that came out
const REST = WIDTH - SHOWN - 14; // what it leaves for its thread

/** trace: text of a recorded run. Returns an <svg>, empty if nothing was decided. */
export function portrait(trace) {
  const events = trace.split("\n").filter(Boolean).map((line) => JSON.parse(line)).filter((e) => e.kind);
  const lane = events[0]?.lane;
  const own = events.filter((e) => e.lane === lane);
  const canvas = own[0]?.canvases?.[0] ?? { kind: "tokens", shape: [1] };
  const steps = decisions(own, canvas.id);
  const given = expand(own[0]?.given?.cells);
  if (isPicture(canvas)) return beside(own, canvas.kind === "pyramid" ? scales(canvas, steps) : path(canvas, given, steps));
  if (canvas.kind === "plane") return walks(canvas, own);
  if (canvas.kind === "series") return curves(own);
  if (canvas.kind === "graph") return chain(canvas, given, steps);
  if (canvas.kind === "strip") return letters(canvas, steps);
  if (canvas.kind === "frames") return film(own, canvas, given, steps);
  return path(canvas, given, steps);
}

/** The thread of a picture, with the picture before it. */
function beside(events, thread) {
  const last = events.findLast((e) => e.kind === "preview" && e.name === "picture");
  const href = last && addressOf(last);
  if (!href) return thread;
  const root = frame();
  thread.setAttribute("viewBox", `0 0 ${REST} ${HEIGHT}`);
  thread.setAttribute("x", WIDTH - REST);
  thread.setAttribute("width", REST);
  root.append(svg("image", { href, x: 0, y: 4, width: SHOWN, height: SHOWN }), thread);
  return root;
}

const frame = () => svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "portrait", preserveAspectRatio: "xMinYMax meet" });

function path(canvas, given, steps) {
  const flat = { grid: gridPlace, list: beltPlace }[canvas.kind]; // cells in the plane, not on a line
  const place = flat ? flat(canvas) : linePlace(canvas, [...given, ...steps.flat()]);
  const root = frame();
  for (const cell of given) root.append(dot(place(cell), 1.4, "var(--line)"));
  const far = Math.max(1, ...steps.flatMap((cells, k) => (k ? cells.map((c) => Math.abs(place(c)[0] - place(middle(steps[k - 1]))[0])) : [])));
  // A pass that decides several cells sends a thread to each of them from the middle one of the pass before; through a
  // picture only the shortest way between two passes is drawn.
  let from = null;
  steps.forEach((cells, k) => {
    const colour = ramp(steps.length > 1 ? k / (steps.length - 1) : 0);
    const near = flat && k ? shortest(steps[k - 1], cells, place) : null;
    for (const cell of cells) {
      const to = place(cell);
      if (near?.[1] === cell) from = place(near[0]);
      if (from && (!near || near[1] === cell)) root.append(svg("path", { d: flat ? `M${from} L${to}` : arc(from, to, far), fill: "none", stroke: colour, "stroke-width": 1.5, "stroke-linecap": "round" }));
      root.append(dot(to, 2.2, colour));
    }
    from = place(middle(cells));
  });
  return root;
}

/** The squares of each scale that was drawn, growing along one line, and the thread through their middles. */
function scales({ shape }, steps) {
  const root = frame();
  const written = new Set(steps.flat());
  const unit = Math.min(SHOWN / Math.max(...shape.flat()), (REST - 4 - 4 * shape.length) / shape.reduce((n, [, w]) => n + w, 0));
  let first = 0;
  let x = 2;
  let from = null;
  shape.forEach(([h, w], k) => {
    const [wide, high] = [w * unit, h * unit];
    const y = HEIGHT - 4 - high;
    const colour = written.has(first) ? ramp(shape.length > 1 ? k / (shape.length - 1) : 0) : "var(--line)";
    const rules = [...Array.from({ length: w - 1 }, (_, c) => `M${(x + (c + 1) * unit).toFixed(1)} ${y}v${high}`), ...Array.from({ length: h - 1 }, (_, r) => `M${x} ${(y + (r + 1) * unit).toFixed(1)}h${wide}`)];
    root.append(svg("path", { d: rules.join(""), stroke: colour, "stroke-width": 0.5, opacity: 0.55 }), svg("rect", { x, y, width: wide, height: high, fill: "none", stroke: colour, "stroke-width": 1.5 }));
    const to = [x + wide / 2, y + high / 2];
    if (from) root.append(svg("path", { d: `M${from} L${to}`, fill: "none", stroke: colour, "stroke-width": 1.5, "stroke-linecap": "round" }));
    root.append(dot(to, 2.2, colour));
    from = to;
    x += wide + 4;
    first += h * w;
  });
  return root;
}

/** The finished series: the first one in the order ramp, the others faint behind it. */
function curves(events) {
  const { id, shape: [steps], rows = 1 } = events[0].canvases[1];
  const values = events.find((e) => e.kind === "commit" && e.canvas === id)?.values ?? [];
  const root = frame();
  const [low, high] = [Math.min(...values.map((v) => v[0])), Math.max(...values.map((v) => v[0]))];
  const at = (row, k) => `${(4 + (k / (steps - 1)) * (WIDTH - 8)).toFixed(1)} ${(HEIGHT - 4 - ((values[row * steps + k][0] - low) / (high - low || 1)) * (HEIGHT - 8)).toFixed(1)}`;
  for (let row = Math.min(rows, values.length / steps) - 1; row >= 0; row--) {
    for (let k = 1; k < steps; k++) root.append(svg("path", { d: `M${at(row, k - 1)} L${at(row, k)}`, stroke: row ? "var(--line)" : ramp(k / (steps - 1)), "stroke-width": row ? 1 : 2, "stroke-linecap": "round" }));
  }
  return root;
}

/** Where the walkers stood, early steps dark: the shape of the data comes out. */
function walks({ shape: { box, n } }, events) {
  const root = frame();
  const side = HEIGHT - 4;
  for (const e of events) {
    if (e.kind !== "commit") continue;
    expand(e.cells).forEach((cell, i) => {
      const [x, y] = e.values[i];
      if (cell % 2 && x > box[0] && x < box[2] && y > box[1] && y < box[3]) root.append(dot([2 + ((x - box[0]) / (box[2] - box[0])) * side, 2 + ((box[3] - y) / (box[3] - box[1])) * side], 0.9, ramp((cell % n) / (n - 1))));
    });
  }
  return root;
}

/** The places of letters on a strip, and a thread from each to the slot that has to read it. */
function letters({ pixels: [, wide], spans, shape: [n] }, steps) {
  const root = frame();
  const x = (share) => 6 + share * (WIDTH - 12);
  const written = new Set(steps.flat());
  const last = Math.max(spans.length - 1, 1);
  for (let i = 0; i < n; i++) {
    const slot = x((i + 0.5) / n);
    const colour = written.has(i) && i < spans.length ? ramp(i / last) : "var(--line)";
    if (i < spans.length) {
      const [left, right] = spans[i].map((v) => x(v / wide));
      const middle = ((left + right) / 2).toFixed(1);
      root.append(svg("rect", { x: left.toFixed(1), y: 5, width: Math.max(right - left - 1.5, 1).toFixed(1), height: 4, rx: 2, fill: colour }),
        svg("path", { d: `M${slot.toFixed(1)} ${HEIGHT - 10} C${slot.toFixed(1)} 30 ${middle} 34 ${middle} 12`, fill: "none", stroke: colour, "stroke-width": 1.5, "stroke-linecap": "round" }));
    }
    root.append(dot([slot, HEIGHT - 10], 2.4, colour));
  }
  return root;
}

/** The first chain's way through its net. */
function chain({ shape: { nodes, edges } }, given, steps) {
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "portrait", preserveAspectRatio: "xMinYMax meet" });
  const place = (cell) => [6 + nodes[cell].at[0] * (WIDTH - 12), 6 + nodes[cell].at[1] * (HEIGHT - 12)];
  const line = (from, to, stroke, width) => root.append(svg("path", { d: `M${place(from)} L${place(to)}`, stroke, "stroke-width": width, "stroke-linecap": "round" }));
  for (const [a, b] of edges) line(a, b, "var(--line)", 1);
  const own = [...given, ...steps.flat()].filter((cell) => cell < nodes.length);
  own.slice(1).forEach((to, k) => line(own[k], to, ramp(k / Math.max(own.length - 2, 1)), 1.75));
  nodes.forEach((_, i) => root.append(dot(place(i), own.includes(i) ? 2.6 : 1.6, own.includes(i) ? ramp(own.indexOf(i) / Math.max(own.length - 1, 1)) : "var(--line)")));
  return root;
}

/** The film at a glance, and under it its frames, coloured by when they were painted. */
function film(events, { shape: [n], keys }, given, steps) {
  const root = frame();
  const last = events.findLast((e) => e.kind === "preview" && e.name === "picture");
  const href = last && addressOf(last);
  if (href) root.append(svg("image", { href, x: 2, y: 6, width: WIDTH - 4, height: 34, preserveAspectRatio: "xMinYMid meet" }));
  const place = (cell) => [4 + (cell / (n - 1)) * (WIDTH - 8), !cell || keys.includes(cell) || !keys.length ? 48 : 56];
  for (const cell of given) root.append(dot(place(cell), 1.4, "var(--line)"));
  steps.forEach((cells, k) => { for (const cell of cells) root.append(dot(place(cell), 1.7, ramp(steps.length > 1 ? k / (steps.length - 1) : 0))); });
  return root;
}

function shortest(before, cells, place) {
  const gap = ([a, b]) => Math.hypot(place(a)[0] - place(b)[0], place(a)[1] - place(b)[1]);
  return cells.flatMap((to) => before.map((from) => [from, to])).reduce((best, pair) => (!best || gap(pair) < gap(best) ? pair : best), null);
}

function linePlace(canvas, cells) {
  const last = Math.max(1, ...cells);
  return (cell) => [6 + (cell / last) * (WIDTH - 12), HEIGHT - 10];
}

/** Groups as columns of two, left to right. */
function beltPlace({ shape: [n], groups }) {
  const told = n / groups;
  const [wide, high] = [(REST - 12) / groups, (HEIGHT - 12) / (told / 2)];
  return (cell) => [6 + (Math.floor(cell / told) + 0.3 + 0.4 * (cell % 2)) * wide, 6 + (Math.floor((cell % told) / 2) + 0.5) * high];
}

function gridPlace({ shape: [h, w] }) {
  const size = (HEIGHT - 8) / h;
  return (cell) => [4 + ((cell % w) + 0.5) * size, 4 + (Math.floor(cell / w) + 0.5) * size];
}

function arc([x1, y1], [x2, y2], far) {
  const wide = Math.abs(x2 - x1);
  const rise = Math.min(wide * 1.6 + 6, (HEIGHT - 14) * Math.sqrt(wide / far)) * 1.33;
  return `M${x1.toFixed(1)} ${y1} C${x1.toFixed(1)} ${(y1 - rise).toFixed(1)} ${x2.toFixed(1)} ${(y2 - rise).toFixed(1)} ${x2.toFixed(1)} ${y2}`;
}

/** Cells decided together: all that was committed between one evaluation and the next. */
function decisions(events, canvas) {
  const out = [];
  let open = null;
  for (const e of events) {
    if (e.kind === "forward") open = null;
    if (e.kind !== "commit" || (e.canvas && e.canvas !== canvas)) continue;
    if (!open) out.push((open = []));
    open.push(...expand(e.cells));
  }
  return out;
}

const middle = (cells) => cells[Math.floor(cells.length / 2)];

function dot([cx, cy], r, fill) {
  return svg("circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r, fill });
}

function ramp(x) {
  const part = Math.round((x < 0.5 ? x * 2 : (x - 0.5) * 2) * 100);
  const [a, b] = x < 0.5 ? ["--order-0", "--order-1"] : ["--order-1", "--order-2"];
  return `color-mix(in oklab, var(${a}), var(${b}) ${part}%)`;
}
