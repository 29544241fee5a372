// The trace player: holds the events of a run and answers what the page looks like after any of them.
// Everything drawn is a function of the events before the cursor. Nothing here touches the document.
//
// A lane's events are cut into groups that appear together: what one evaluation decided at once, or one verdict
// with the commit that follows it. Lanes are merged into one sequence by the lockstep clock:
//   event: group by group   calls: lanes that made the same number of calls stand level   clock: by ms of compute
// The cursor counts applied events of that merged sequence, so a position is one whole number on every clock.

const SNAPSHOT_EVERY = 32;
const VISIBLE = new Set(["propose", "accept", "reject", "commit", "withdraw", "preview"]);
// How long a moment is held (ms): by kind of event, and for pictures by what is decided: a square, a set, a whole scale.
const HOLD = { propose: 620, branch: 260, prune: 220, draft: 150, accept: 400, reject: 620, commit: 290, write: 170, withdraw: 320, preview: 500, denoise: 130, square: 140, set: 420, scale: 1200, walk: 110 };

/** What a net is to its lane: "draft", "encoder", "decoder", "head", or "main", the one whose evaluations are the lane's calls. */
const PICTURES = new Set(["grid", "list", "pyramid"]);
/** Is this canvas a picture, so that its cells are places and not words? */
export const isPicture = (canvas) => PICTURES.has(canvas?.kind);
const EMPTY = Object.freeze([]);

/** Expand cells given as integers or half-open [start, stop] pairs. */
export function expand(cells) {
  if (!cells) return EMPTY;
  const out = [];
  for (const c of cells) {
    if (Array.isArray(c)) for (let i = c[0]; i < c[1]; i++) out.push(i);
    else out.push(c);
  }
  return out;
}

function size(canvas) {
  const flat = (shape) => shape.reduce((a, b) => a * b, 1);
  const shape = canvas.shape ?? [0];
  const counts = { pyramid: () => shape.reduce((a, s) => a + flat(s), 0), plane: () => shape.n, graph: () => shape.nodes.length, series: () => shape[0] };
  return (counts[canvas.kind]?.() ?? flat(shape)) * (canvas.rows ?? 1);
}

const blank = (open) => Object.freeze({ state: open ? "open" : "masked", value: null, blank: true, touched: -1, order: 0 });

function emptyState(lane) {
  return {
    lane, title: lane, canvas: null, canvases: {}, cells: EMPTY, open: false, blanks: 0, written: 0,
    calls: 0, draftCalls: 0, nfe: 0, netCalls: {}, t: 0, phase: null, forward: null, note: null, latest: null,
    verdict: null, decisions: EMPTY, measures: {}, previews: {}, nets: EMPTY, done: null, failed: null, n: -1,
    tree: EMPTY, // nodes of a search that are open, and those cut since the last proposal: {id, parent, cell, value, p, score, n, cut, kept}
  };
}

/** Apply one event. Cells are replaced, never changed, so states may share them. */
function reduce(state, event, lane) {
  state.n = event.n;
  if (typeof event.t === "number") state.t = event.t;
  const apply = REDUCERS[event.kind];
  if (apply) apply(state, event, lane);
}

function board(state, event) {
  return state.canvases[event.canvas ?? state.canvas?.id] ?? { cells: state.cells };
}

/** Merge the per-cell fields of an event into its cells. */
function touch(state, event, change) {
  const cells = expand(event.cells);
  const target = board(state, event).cells;
  cells.forEach((cell, i) => {
    const old = target[cell] ?? blank(state.open);
    const dists = { ...(event.kind === "propose" ? {} : old.dists) };
    for (const [name, list] of Object.entries(event.dists ?? {})) if (list?.[i]) dists[name] = list[i];
    const next = { ...old, touched: state.calls, n: event.n, was: null, dists, ...change(old, i, cell) };
    target[cell] = Object.freeze(next);
  });
  return cells;
}

const REDUCERS = {
  begin(state, event, lane) {
    state.title = event.title ?? state.lane;
    state.nets = event.nets ?? EMPTY;
    state.open = lane.open;
    for (const canvas of event.canvases ?? EMPTY) {
      state.canvases[canvas.id] = { canvas, cells: Array.from({ length: size(canvas) }, () => blank(lane.open)) };
    }
    const first = event.canvases?.[0];
    if (!first) return;
    state.canvas = first;
    state.cells = state.canvases[first.id].cells;
    expand(event.given?.cells).forEach((cell, i) => {
      const value = event.given.values[i];
      state.cells[cell] = Object.freeze({ state: "given", value, blank: false, touched: -1, order: 0 });
    });
    state.blanks = state.cells.filter((c) => c.blank).length;
  },
  phase(state, event) {
    if (event.state !== "end") state.phase = { unit: event.unit, index: event.index, of: event.of, n: event.n, cells: expand(event.cells) };
  },
  forward(state, event, lane) {
    if (lane.sideNets.has(event.net)) return;
    state.netCalls = { ...state.netCalls, [event.net]: event.calls ?? (state.netCalls[event.net] ?? 0) + 1 };
    let main = 0;
    let draft = 0;
    for (const [net, calls] of Object.entries(state.netCalls)) {
      if (lane.draftNets.has(net)) draft += calls;
      else main += calls;
    }
    state.calls = main;
    state.draftCalls = draft;
    state.nfe = event.nfe ?? state.nfe;
    state.forward = { ...event, cells: state.cells.slice() };
  },
  propose(state, event) {
    if (event.node) return grow(state, event);
    touch(state, event, (old, i) => ({
      state: "proposed", draft: event.values[i], p: event.p?.[i], struck: null, verdict: null, replacement: null, ratio: null,
      u: null, proposedAt: event.n, sees: seen(state, expand(event.cells)[i]),
    }));
    state.latest = { kind: "propose", cells: expand(event.cells), n: event.n };
  },
  accept(state, event) {
    const cells = touch(state, event, (old, i, cell) => ({
      state: "accepted", verdict: "accepted", p: event.p?.[i], q: event.q?.[i], ratio: event.ratio?.[i], u: event.u?.[i],
      judgedAt: event.n, call: state.calls, sees: seen(state, cell),
    }));
    state.verdict = { cell: cells[cells.length - 1], n: event.n };
    state.latest = { kind: "accept", cells, n: event.n };
  },
  reject(state, event) {
    const cells = touch(state, event, (old, i, cell) => ({
      state: "rejected", verdict: "rejected", struck: old.draft ?? null, replacement: event.replacement?.[i] ?? null,
      p: event.p?.[i], q: event.q?.[i], ratio: event.ratio?.[i], u: event.u?.[i], judgedAt: event.n, call: state.calls,
      sees: seen(state, cell),
    }));
    state.verdict = { cell: cells[cells.length - 1], n: event.n };
    state.latest = { kind: "reject", cells, n: event.n };
  },
  commit(state, event) {
    const group = expand(event.cells);
    const main = !event.canvas || event.canvas === state.canvas?.id;
    const decision = state.decisions.length + 1;
    touch(state, event, (old, i, cell) => {
      if (main && old.blank && old.state !== "committed") state.written += 1;
      const value = event.values?.[i] ?? null;
      const struck = old.verdict === "rejected" && old.struck !== value ? old.struck : null;
      return {
        state: "committed", value, chance: event.p?.[i], entropy: event.entropy?.[i], origin: event.origin, order: decision,
        call: state.calls, struck, decidedAt: event.n,
        // a beginning is agreed on long after its words were read: what the last evaluation read says nothing of them
        sees: old.rivals ? null : old.verdict && old.sees != null ? old.sees : seen(state, cell),
      };
    });
    // what is agreed on stays in the tree until the next proposal, with what was cut beside it
    if (state.tree.length) state.tree = state.tree.map((node) => (node.cut === null && group.includes(node.cell) ? Object.freeze({ ...node, kept: event.n }) : node));
    state.decisions = [...state.decisions, { cells: group, call: state.calls, n: event.n, canvas: event.canvas }];
    if (main) state.latest = { kind: "commit", cells: group, n: event.n };
  },
  withdraw(state, event) {
    if (event.node) return cut(state, event);
    const cells = touch(state, event, (old) => {
      if (old.state === "committed") state.written -= 1;
      return {
        ...blank(state.open), state: "withdrawn", was: old.state === "committed" ? old.value : (old.draft ?? old.value),
        why: event.why, blank: old.blank, touched: state.calls, n: event.n, dists: old.dists, p: old.p,
      };
    });
    state.latest = { kind: "withdraw", cells, n: event.n };
  },
  preview(state, event) {
    state.previews = { ...state.previews, [event.name]: event };
  },
  measure(state, event) {
    state.measures = { ...state.measures, [event.name]: event };
  },
  note(state, event) {
    state.note = { key: event.key, args: event.args ?? {}, text: event.text ?? "", cells: expand(event.cells), n: event.n, lane: state.lane };
  },
  done(state, event) {
    state.done = { reason: event.reason, summary: event.summary, n: event.n };
  },
  failed(state, event) {
    state.failed = { code: event.code, message: event.message, fix: event.fix, n: event.n };
  },
};

/** Many drafts for one cell, each after another beginning: nodes of a tree. The canvas changes when they agree. */
function grow(state, event) {
  const nodes = expand(event.cells).map((cell, i) => Object.freeze({
    id: event.node[i], parent: event.parent?.[i] ?? -1, cell, value: event.values[i], p: event.p?.[i], score: event.score?.[i], n: event.n, cut: null, kept: null,
  }));
  state.tree = [...state.tree.filter(open), ...nodes];
  for (const cell of new Set(nodes.map((node) => node.cell))) {
    state.cells[cell] = Object.freeze({ ...state.cells[cell], rivals: nodes.filter((node) => node.cell === cell) });
  }
  state.latest = { kind: "propose", cells: nodes.slice(0, 1).map((node) => node.cell), n: event.n };
}

const open = (node) => node.cut === null && node.kept === null;

function cut(state, event) {
  const gone = new Set(event.node);
  state.tree = state.tree.filter(open).map((node) => (gone.has(node.id) ? Object.freeze({ ...node, cut: event.n }) : node));
}

/** Number of cells that the last evaluation showed to `cell`: what it read, and what it computed before this cell. */
function seen(state, cell) {
  return visibleTo(state.forward, cell).length;
}

function visibleTo(forward, cell) {
  if (!forward) return EMPTY;
  const fixed = (c) => ["given", "committed"].includes(forward.cells[c]?.state);
  // What a cache holds of a hidden cell is no word to be seen.
  const known = new Set(expand(forward.reads).filter((c) => !["masked", "withdrawn"].includes(forward.cells[c]?.state)));
  const drafted = (c) => ["proposed", "accepted"].includes(forward.cells[c]?.state);
  let before = true;
  for (const c of expand(forward.computes)) {
    if (c === cell) before = false;
    else if (fixed(c) || (before && drafted(c))) known.add(c);
  }
  known.delete(cell);
  return [...known].sort((a, b) => a - b);
}

class Lane {
  constructor(id) {
    this.id = id;
    this.cut(0);
  }

  /** Keep the first `count` events (a branch keeps its prefix). */
  cut(count) {
    const kept = (this.events ?? EMPTY).slice(0, count);
    this.events = [];
    this.index = [];
    this.groups = [];
    this.snapshots = [];
    this.cached = null;
    this.open = false;
    this.draftNets = new Set();
    this.sideNets = new Set();
    this.netCalls = new Map();
    this.calls = 0;
    this.expected = null;
    this.extent = 0;
    this.widest = 0; // nodes of a search that are proposed at once
    kept.forEach((event) => this.append(event));
  }

  append(event) {
    if (event.kind === "begin") this.#begin(event);
    if (event.kind === "phase" && ["set", "step"].includes(event.unit) && this.kind === "grid") this.expected = event.of ?? null;
    const group = this.#group(event);
    if (event.kind === "forward") this.#count(event);
    if (event.kind === "propose" && event.node) this.widest = Math.max(this.widest, event.node.length);
    if (group.call !== this.calls && group.size === 0) group.call = this.calls;
    const last = this.index[this.index.length - 1];
    const sameCall = last && last.call === this.calls;
    const slot = !sameCall ? 0 : last.group === group.id ? last.slot : last.slot + 1;
    group.size += 1;
    group.t = event.t ?? group.t;
    this.events.push(event);
    this.index.push({ group: group.id, call: this.calls, slot });
    if (event.cells && event.kind !== "note" && event.kind !== "measure" && event.kind !== "phase") {
      for (const c of event.cells) this.extent = Math.max(this.extent, Array.isArray(c) ? c[1] : c + 1);
    }
  }

  #begin(event) {
    const canvas = event.canvases?.[0];
    const given = expand(event.given?.cells);
    this.extent = Math.max(this.extent, ...given.map((c) => c + 1), 0);
    // A causal lane writes into an open tail, which is paper rather than blanks; a canvas may also say so itself.
    const prefix = given.every((c, i) => c === i);
    const causal = (event.nets ?? EMPTY).some((net) => net.id.startsWith("next_token/"));
    this.open = canvas?.open ?? (canvas?.kind === "tokens" && prefix && causal);
    const drafts = (event.nets ?? []).filter((n) => n.role === "draft").map((n) => n.id);
    if (drafts.length < (event.nets ?? []).length) this.draftNets = new Set(drafts);
    this.nets = event.nets ?? EMPTY;
    this.sideNets = new Set(this.nets.filter((n) => ["decoder", "encoder", "head"].includes(n.role)).map((n) => n.id));
    this.kind = canvas?.kind;
    this.expected = { pyramid: () => canvas.shape.length, plane: () => canvas.shape.n - 1, series: () => canvas.calls }[this.kind]?.() ?? null;
  }

  #count(event) {
    if (this.sideNets.has(event.net)) return;
    this.netCalls.set(event.net, event.calls ?? (this.netCalls.get(event.net) ?? 0) + 1);
    this.calls = 0;
    for (const [net, calls] of this.netCalls) if (!this.draftNets.has(net)) this.calls += calls;
  }

  #group(event) {
    const last = this.groups[this.groups.length - 1];
    const starts = !last || (last.shown && this.#startsGroup(last, event));
    const group = starts ? { id: this.groups.length, kind: null, cells: EMPTY, shown: false, forward: false, phase: false, commit: false, hold: 0, size: 0, t: 0, call: this.calls, rank: 0 } : last;
    if (starts) this.groups.push(group);
    if (event.kind === "forward") {
      const side = this.sideNets.has(event.net);
      group.looked ||= this.nets.some((net) => net.id === event.net && net.role === "encoder");
      group.forward = (!side && !this.draftNets.has(event.net)) || group.forward;
      group.drafting = !side && this.draftNets.has(event.net);
    }
    if (event.kind === "phase" && event.state !== "end") group.phase = true;
    if (event.kind === "commit") group.commit = true;
    if (VISIBLE.has(event.kind)) {
      if (!group.shown) Object.assign(group, { kind: event.kind, cells: expand(event.cells), shown: true });
      else if (event.kind === group.kind) group.cells = [...group.cells, ...expand(event.cells)];
      let kind = event.kind;
      if (kind === "propose" && group.drafting) kind = "draft";
      if (event.node) kind = { propose: "branch", withdraw: "prune" }[kind] ?? kind;
      if (kind === "commit") kind = this.#written(event);
      // What is shown before the first call stays in view while the first cells come: nobody is held up for it, unless
      // an encoder had to look first.
      if (kind === "preview") kind = group.kind === "preview" && event.name === "denoise" ? "denoise" : group.commit || !(this.calls || group.looked) ? "" : kind;
      group.hold = this.kind === "plane" ? HOLD.walk : Math.max(group.hold, HOLD[kind] ?? 0);
    }
    return group;
  }

  #written(event) {
    // A whole spectrum, or whole series at the end: what is looked at longest.
    if (this.kind === "pyramid" || (this.kind === "series" && event.canvas)) return "scale";
    if (this.open || this.kind === "series") return "write";
    if (["frames", "grid", "list"].includes(this.kind)) return expand(event.cells).length > 1 ? "set" : "square";
    return "commit";
  }

  #startsGroup(group, event) {
    const { kind } = event;
    // All walkers of a plane step together: the jumps, their verdicts and where they lead are one moment.
    if (this.kind === "plane") return kind === "forward";
    if (kind === "forward" || (kind === "phase" && event.state !== "end")) return true;
    // A picture belongs to what it shows; only the steps out of the noise are moments of their own.
    if (kind === "preview") return event.name === "denoise";
    if (!VISIBLE.has(kind)) return false;
    if (kind === "commit") {
      if (group.kind === "commit") return false;
      const verdict = group.kind === "accept" || group.kind === "reject";
      return !(verdict && expand(event.cells).every((c) => group.cells.includes(c)));
    }
    // One pass proposes or withdraws as a whole; each verdict is a moment of its own, with what falls because of it.
    if (kind === "withdraw" && group.kind === "reject") return false;
    return kind === "accept" || kind === "reject" || kind !== group.kind;
  }

  /** State after the first `count` events: from the nearest snapshot, at most 31 events are replayed. */
  at(count, keep = true) {
    const begun = this.events[0]?.kind === "begin" ? 1 : 0;
    const k = Math.min(Math.max(count, begun), this.events.length);
    if (this.cached?.k === k) return this.cached.state;
    let from = this.cached && this.cached.k < k && k - this.cached.k < SNAPSHOT_EVERY ? this.cached : null;
    if (!from) {
      const s = Math.min(Math.floor(k / SNAPSHOT_EVERY), this.snapshots.length - 1);
      from = s >= 0 ? this.snapshots[s] : { k: 0, state: emptyState(this.id) };
      if (s < 0) this.snapshots[0] = from;
    }
    const state = clone(from.state);
    for (let i = from.k; i < k; i++) {
      reduce(state, this.events[i], this);
      const done = i + 1;
      if (done % SNAPSHOT_EVERY === 0 && !this.snapshots[done / SNAPSHOT_EVERY]) {
        this.snapshots[done / SNAPSHOT_EVERY] = { k: done, state: clone(state) };
      }
    }
    state.group = k ? this.index[k - 1].group : -1;
    if (keep) this.cached = { k, state };
    return state;
  }
}

/** Whether two events say the same but for the time that it took. */
function same(a, b) {
  const facts = (e) => JSON.stringify([e.kind, e.cells, e.values, e.given?.values]);
  return facts(a) === facts(b);
}

function clone(state) {
  const canvases = {};
  for (const [id, entry] of Object.entries(state.canvases)) canvases[id] = { canvas: entry.canvas, cells: entry.cells.slice() };
  const cells = state.canvas ? canvases[state.canvas.id].cells : EMPTY;
  return { ...state, canvases, cells };
}

export class Player {
  constructor({ clock = "calls", speed = 1, reducedMotion = null } = {}) {
    this.listeners = new Map();
    this.clock = clock;
    this.speed = speed;
    this.granularity = "event";
    this.reducedMotion = reducedMotion ?? (globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches || false);
    this.playing = false;
    this.timer = 0;
    this.titles = new Map();
    this.#clear(null);
  }

  #clear(run) {
    this.run = run;
    this.header = null;
    this.digest = null;
    this.ended = false;
    this.expected = 0;
    this.waiting = new Map();
    this.record = new Map();
    this.cursor = { mode: "at", at: 0 };
    this.selection = null;
    this.order = null;
    this.version = (this.version ?? 0) + 1;
  }

  on(name, f) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name).add(f);
    return () => this.listeners.get(name).delete(f);
  }

  emit(name, detail) {
    for (const f of [...(this.listeners.get(name) ?? EMPTY)]) f(detail);
  }

  // ---- what comes in

  /** Expect frames of a new run; everything known is dropped. */
  open(run, { live = false } = {}) {
    this.pause();
    this.#clear(run);
    if (live) this.cursor = { mode: "live", at: 0 };
    this.emit("change", { reason: "open" });
  }

  /** Expect a run that recomputes only some lanes: { lane: after }. Their events up to `after` stay on screen. */
  branch(run, after) {
    const anchor = this.#anchor();
    this.run = run;
    this.expected = 0;
    this.waiting.clear();
    this.ended = false;
    for (const [id, n] of Object.entries(after)) this.record.get(id)?.cut(n + 1);
    this.version += 1;
    this.order = null;
    this.#restore(anchor);
    this.emit("change", { reason: "branch" });
  }

  /** Take a frame of the stream. Frames of another run are dropped; a hole in `seq` asks for what is missing. */
  push(frame) {
    if (frame.run !== undefined && frame.run !== this.run) {
      if (this.run !== null) return false;
      this.run = frame.run;
    }
    const seq = frame.seq ?? this.expected;
    if (seq < this.expected) return false;
    if (seq > this.expected) {
      const asked = this.waiting.size > 0;
      this.waiting.set(seq, frame);
      if (!asked) this.emit("gap", { run: this.run, from: this.expected, to: seq - 1 });
      return false;
    }
    const anchor = this.#anchor();
    this.#take(frame);
    while (this.waiting.has(this.expected)) {
      const next = this.waiting.get(this.expected);
      this.waiting.delete(this.expected);
      this.#take(next);
    }
    this.order = null;
    this.#restore(anchor);
    this.emit("change", { reason: "push" });
    return true;
  }

  #take(frame) {
    this.expected = (frame.seq ?? this.expected) + 1;
    if (frame.header) this.header = frame.header;
    for (const event of frame.events ?? EMPTY) this.#append(event);
    if (frame.end) {
      this.digest = frame.end.digest ?? null;
      this.ended = true;
    }
  }

  #append(event) {
    let lane = this.record.get(event.lane);
    if (!lane) {
      lane = new Lane(event.lane);
      this.record.set(event.lane, lane);
      this.version += 1;
    }
    const n = event.n ?? lane.events.length;
    if (n < lane.events.length) {
      // A branch says again what came before it. Another machine may have computed that otherwise: then what this one
      // computed stands, whole, and the page is told. Two runs are never shown as one.
      if (same(event, lane.events[n])) return;
      lane.cut(n);
      this.version += 1;
      this.emit("differs", { lane: lane.id, n });
    }
    lane.append(event.n === undefined ? { ...event, n } : event);
  }

  /** Load a whole recording: JSON lines, a list of frames or events, or {header, events}. */
  load(trace) {
    this.pause();
    let items = trace;
    if (typeof trace === "string") items = trace.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
    if (!Array.isArray(items)) items = [items.header ?? { trace: 1 }, ...(items.events ?? EMPTY)];
    this.#clear(items.find((item) => item.run !== undefined)?.run ?? "recorded");
    for (const item of items) {
      if (item.kind) this.#append(item);
      else if (item.trace) this.header = item;
      else this.#take(item);
    }
    this.digest = this.digest ?? this.header?.digest ?? null;
    this.ended = true;
    this.emit("change", { reason: "load" });
  }

  // ---- the merged sequence

  #merge() {
    if (this.order) return this.order;
    const lanes = [...this.record.values()];
    const items = [];
    lanes.forEach((lane, l) => {
      lane.events.forEach((event, n) => {
        const { group, call, slot } = lane.index[n];
        let key = group;
        if (this.clock === "clock") key = lane.groups[group].t;
        if (this.clock === "calls") key = call;
        items.push({ lane: l, n, key, slot: this.clock === "calls" ? slot : 0, group: lane.groups[group] });
      });
    });
    items.sort((a, b) => a.key - b.key || a.slot - b.slot || a.lane - b.lane || a.n - b.n);
    const widest = new Map();
    for (const item of items) widest.set(item.key, Math.max(widest.get(item.key) ?? 0, item.slot));
    const counts = lanes.map(() => new Uint32Array(items.length + 1));
    const axis = new Float64Array(items.length);
    const beats = [];
    let beat = null;
    items.forEach((item, i) => {
      counts.forEach((c) => { c[i + 1] = c[i]; });
      counts[item.lane][i + 1] = item.n + 1;
      axis[i] = this.clock === "calls" ? item.key + item.slot / (widest.get(item.key) + 1) : item.key;
      const same = beat && (this.clock === "clock" ? beat.group === item.group : beat.key === item.key && beat.slot === item.slot);
      if (!same) {
        beat = { key: item.key, slot: item.slot, group: item.group, start: i, end: i, x: axis[i], shown: false, forward: false, commit: false, phase: false, hold: 0 };
        beats.push(beat);
      }
      beat.end = i + 1;
      const kind = lanes[item.lane].events[item.n].kind;
      if (kind === "forward" && item.group.forward) beat.forward = true;
      if (kind === "commit") beat.commit = true;
      if (kind === "phase") beat.phase = true;
      if (VISIBLE.has(kind)) {
        beat.shown = true;
        beat.hold = Math.max(beat.hold, item.group.hold);
      }
    });
    const span = items.length ? axis[items.length - 1] : 0;
    this.order = { items, lanes, counts, axis, beats, span: this.clock === "clock" ? span : span + 1 };
    if (this.cursor.mode === "live") this.cursor = { mode: "live", at: items.length };
    return this.order;
  }

  #anchor() {
    if (this.cursor.mode === "live") return null;
    const { items, lanes } = this.#merge();
    const item = items[this.cursor.at - 1];
    return item ? { lane: lanes[item.lane].id, n: item.n } : null;
  }

  // Events of a slower lane may be merged in front of the cursor: hold on to the event it stands on.
  #restore(anchor) {
    const { items, lanes } = this.#merge();
    if (this.cursor.mode === "live") this.cursor = { mode: "live", at: items.length };
    else if (anchor) {
      const i = items.findIndex((item) => item.n === anchor.n && lanes[item.lane].id === anchor.lane);
      this.cursor = { mode: "at", at: i < 0 ? Math.min(this.cursor.at, items.length) : i + 1 };
    }
  }

  get lanes() {
    return [...this.record.keys()];
  }

  /** Call a lane by the page's name instead of the trace's own. */
  name(lane, title) {
    if (this.titles.get(lane) === title) return;
    this.titles.set(lane, title);
    this.order = null;
    this.emit("change", { reason: "name" });
  }

  title(lane) {
    return this.titles.get(lane) ?? this.events(lane)[0]?.title ?? lane;
  }

  get length() {
    return this.#merge().items.length;
  }

  events(lane) {
    return this.record.get(lane)?.events ?? EMPTY;
  }

  /** What the timeline draws: per lane its groups, and where the merged events lie on the axis of the clock. */
  layout() {
    return this.#merge();
  }

  lane(id) {
    return this.record.get(id);
  }

  /** Calls of the lane that made most of them, or as many as there are blanks: the full row of dots. */
  get mostCalls() {
    let most = 0;
    for (const lane of this.record.values()) most = Math.max(most, lane.calls);
    return most;
  }

  // ---- where we are

  /** State of a lane at the cursor; without a lane, the latest note and whether the run is over. */
  state(lane) {
    const { items, lanes, counts } = this.#merge();
    const at = this.cursor.at;
    if (lane === undefined) {
      // Of what is told at one mark of the clock, the first lane has the word: it is the one the page is about.
      let found = null;
      for (let i = at - 1; i >= 0 && (!found || items[i].key === found.key); i--) {
        if (lanes[items[i].lane].events[items[i].n].kind === "note" && (!found || items[i].lane < found.lane)) found = items[i];
      }
      const event = found && lanes[found.lane].events[found.n];
      const note = event && { key: event.key, args: event.args ?? {}, text: event.text ?? "", cells: expand(event.cells), lane: event.lane, n: event.n };
      return { note, at, length: items.length, ended: this.ended, atEnd: at >= items.length };
    }
    const l = lanes.findIndex((x) => x.id === lane);
    return l < 0 ? emptyState(lane) : lanes[l].at(counts[l][at]);
  }

  /** State of a lane after its event n. */
  stateAt(lane, n) {
    return this.record.get(lane)?.at(n + 1, false) ?? emptyState(lane);
  }

  /** Cells that the evaluation which decided a cell could see. */
  sees(lane, cell) {
    const now = this.state(lane).cells[cell];
    const n = now?.judgedAt ?? now?.decidedAt ?? now?.proposedAt;
    return n == null ? EMPTY : visibleTo(this.stateAt(lane, n).forward, cell);
  }

  /** The event last applied, or undefined at the start. */
  get current() {
    const { items, lanes } = this.#merge();
    const item = items[this.cursor.at - 1];
    return item && lanes[item.lane].events[item.n];
  }

  seek(i) {
    const { items } = this.#merge();
    const at = Math.min(Math.max(Math.round(i), 0), items.length);
    if (this.cursor.mode === "at" && this.cursor.at === at) return;
    this.cursor = { mode: "at", at };
    this.emit("change", { reason: "seek" });
  }

  /** Place the cursor after event n of a lane. */
  seekEvent(lane, n) {
    const { items, lanes } = this.#merge();
    const i = items.findIndex((item) => item.n === n && lanes[item.lane].id === lane);
    if (i >= 0) this.seek(i + 1);
  }

  goLive() {
    this.pause();
    this.cursor = { mode: "live", at: this.length };
    this.emit("change", { reason: "live" });
  }

  setClock(clock) {
    const anchor = this.#anchor();
    this.clock = clock;
    this.order = null;
    this.#restore(anchor);
    this.emit("change", { reason: "clock" });
  }

  setSpeed(speed) {
    this.speed = speed;
    this.emit("change", { reason: "speed" });
  }

  setGranularity(unit) {
    this.granularity = unit;
    this.emit("change", { reason: "granularity" });
  }

  /** One step: the next moment that shows something, or the end of the next evaluation, or the next commit or phase. */
  step(direction = 1, unit = this.granularity) {
    this.pause();
    const { beats, items } = this.#merge();
    const at = this.cursor.at;
    const stops = beats
      .filter((beat, i) => {
        const next = beats[i + 1];
        if (unit === "forward") return !next || next.forward;
        if (unit === "commit") return beat.commit;
        if (unit === "phase") return !next || next.phase;
        return beat.shown;
      })
      .map((beat) => beat.end);
    stops.unshift(0);
    stops.push(items.length);
    const next = direction > 0 ? stops.find((s) => s > at) : stops.findLast((s) => s < at);
    if (next !== undefined) this.seek(next);
  }

  play() {
    if (this.playing) return;
    if (this.ended && this.cursor.at >= this.length) this.cursor = { mode: "at", at: 0 };
    if (this.cursor.mode === "live") this.cursor = { mode: "at", at: this.cursor.at };
    this.playing = true;
    this.due = performance.now();
    this.timer = requestAnimationFrame((now) => this.#tick(now));
    this.emit("change", { reason: "play" });
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    cancelAnimationFrame(this.timer);
    this.emit("change", { reason: "pause" });
  }

  #tick(now) {
    if (!this.playing) return;
    let moved = false;
    for (let guard = 0; now >= this.due && guard < 200; guard++) {
      const hold = this.#advance();
      if (hold === null) {
        if (this.ended) {
          this.playing = false;
          this.emit("change", { reason: "end" });
          this.emit("end", {});
          return;
        }
        this.due = now;
        break;
      }
      moved = true;
      this.due = Math.max(this.due, now - 250) + hold;
    }
    if (moved) this.emit("change", { reason: "play" });
    this.timer = requestAnimationFrame((next) => this.#tick(next));
  }

  // Moves to the end of the next beat that shows something; returns how long to rest there (ms), null at the edge.
  #advance() {
    const { beats, items, span } = this.#merge();
    if (this.cursor.at >= items.length) return null;
    let b = beats.findIndex((beat) => beat.end > this.cursor.at);
    while (b < beats.length - 1 && !beats[b].shown) b += 1;
    const beat = beats[b];
    this.cursor = { mode: "at", at: beat.end };
    let hold = beat.hold;
    if (this.clock === "clock" && beats[b + 1]) {
      // A whole run takes about as long to watch as on the other clocks; pauses keep their true proportions.
      const scale = (beats.filter((x) => x.shown).length * 300) / Math.max(span, 1);
      hold = Math.min((beats[b + 1].x - beat.x) * scale, 2500);
    }
    hold /= this.speed;
    return this.reducedMotion ? Math.max(hold, 500) : hold;
  }

  // ---- what the reader does

  select(lane, cell) {
    this.selection = lane == null || cell == null ? null : { lane, cell };
    this.emit("select", this.selection);
  }

  /** What the inspector shows: the selected cell, else the latest verdict, else the latest decision. */
  focus() {
    if (this.selection && this.record.has(this.selection.lane)) return { ...this.selection, chosen: true };
    let best = null;
    for (const id of this.lanes) {
      const state = this.state(id);
      if (state.verdict) return { lane: id, cell: state.verdict.cell, chosen: false };
      const last = state.latest;
      if (last && !best) best = { lane: id, cell: last.cells[last.cells.length - 1], chosen: false };
    }
    return best;
  }

  /** Ask for another word: emits "force" with the event from which the lane must be recomputed. */
  force(lane, cell, value) {
    const now = this.state(lane).cells[cell];
    const events = this.events(lane);
    let n = now?.proposedAt ?? now?.decidedAt ?? this.state(lane).n;
    while (n > 0 && !["forward", "phase"].includes(events[n]?.kind)) n -= 1;
    this.emit("force", { do: "force", lane, cell, value, after: Math.max(n, 0) });
  }

  /** Light cells up on the stage for a moment: {lane, cells, cell} or null. */
  light(what) {
    this.emit("light", what);
  }
}
