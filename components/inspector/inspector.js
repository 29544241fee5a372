// The inspector: how one word was decided. Both distributions as paired bars with both numbers, the grammar's truth
// as an ink line, the number line on which a guess was kept or struck, and what the cell could see.

import { isPicture } from "../player/player.js";
import { fine, inWords, isEnd, isPad, make, short, spelled, total, words } from "../player/words.js";
import * as frame from "./frame.js";
import * as moment from "./moment.js";
import * as node from "./node.js";
import * as point from "./point.js";
import * as square from "./square.js";

const PAIRS = [["q", "p"], ["before", "after"]];
const MOST = 6;
const LEAST = 4; // so many are shown even when one word is certain: others can still be forced

/**
 * options: interventions ({lane: [...]}; a lane that has "force" gets buttons) or force (true: all lanes),
 * codes ({tokenizer: url of its sheet of patches}, for pictures).
 * Returns {draw, destroy}.
 */
export function mount(element, player, { strings = {}, options = {} } = {}) {
  const t = words(strings);
  element.classList.add("uf-inspector");
  let pending = 0;
  let last = [];

  let stop = null; // the sign that ends a word read off a strip
  const named = (value) => (value != null && value === stop ? t("strip.end") : spelled(value, t));

  function canForce(lane) {
    if (options.interventions) return (options.interventions[lane] ?? []).includes("force");
    return options.force !== false;
  }

  function draw() {
    pending = 0;
    const focus = player.focus();
    const state = focus && player.state(focus.lane);
    const cell = state?.cells[focus.cell];
    const picture = isPicture(state?.canvas);
    const key = [focus?.lane, focus?.cell, focus?.chosen, cell, player.version, cell?.rivals && state.tree, picture && square.stamp(player, focus.lane, state), state?.canvases.series?.cells[focus.cell], state?.canvas.kind === "frames" && frame.stamp(player, focus.lane, state)];
    if (key.every((k, i) => k === last[i]) && last.length) return;
    const active = document.activeElement;
    const kept = element.contains(active) ? active.dataset?.key : null;
    last = key;
    stop = state?.canvas?.kind === "strip" ? "end" : null;
    element.replaceChildren(...(cell ? shown(focus, cell, state) : player.lanes.length ? [empty()] : []));
    if (kept) [...element.querySelectorAll("[data-key]")].find((b) => b.dataset.key === kept)?.focus({ preventScroll: true });
  }

  function shown(focus, cell, state) {
    if (isPicture(state.canvas)) return square.view({ player, t, focus, cell, state, codes: options.codes, canForce: canForce(focus.lane), redraw, numberLine });
    if (state.canvas.kind === "plane") return point.view({ player, t, focus, cell, state, numberLine });
    if (state.canvas.kind === "graph") return node.view({ player, t, focus, cell, state, canForce: canForce(focus.lane) });
    if (state.canvas.kind === "frames") return frame.view({ player, t, focus, cell, state, redraw });
    if (state.canvas.kind === "series") return moment.view({ player, t, focus, cell, state });
    return view(focus, cell, state);
  }

  function empty() {
    const canvases = player.lanes.map((id) => player.events(id)[0]?.canvases?.[0]);
    const kind = canvases.find((c) => c)?.kind;
    const key = isPicture({ kind }) ? ".square" : { strip: ".letter", plane: ".point", graph: ".node", series: ".moment", frames: ".frame" }[kind] ?? "";
    return make("p", { class: "uf-empty" }, t(`inspector.empty${key}`));
  }

  function redraw() {
    last = [];
    pending ||= requestAnimationFrame(draw);
  }

  function view(focus, cell, state) {
    const value = current(cell);
    const parts = [];
    const letters = state.canvas.kind === "strip";
    const place = [t(letters ? "inspector.letter" : "inspector.word", { n: focus.cell + 1 })];
    if (cell.call) place.push(t("inspector.decided", { n: cell.call }));
    const top = make("p", { class: "uf-where-word" }, square.whose(player, focus), make("span", {}, place.join(" \u00b7 ")));
    if (focus.chosen) top.append(make("button", { type: "button", class: "uf-follow", "data-key": "follow", onclick: () => player.select(null) }, t("inspector.clear")));
    parts.push(top);
    const struck = cell.struck && cell.struck !== value ? make("s", {}, named(cell.struck)) : null;
    parts.push(make("p", { class: "uf-big", "data-draft": cell.state === "proposed" }, named(value) || "\u2026", struck));
    parts.push(make("p", { class: "uf-say" }, letters ? letterSentence(focus, cell, state) : sentence(cell, value)));
    const pair = PAIRS.find(([a, b]) => cell.dists?.[a] || cell.dists?.[b]);
    const names = pair ?? Object.keys(cell.dists ?? {}).filter((n) => n !== "truth" && n !== "residual").slice(0, 2);
    if (names.length) parts.push(bars(focus, cell, value, names), legend(cell, names));
    if (cell.rivals) parts.push(...rivals(cell, state));
    if (cell.ratio != null && cell.verdict && cell.origin !== "forced") parts.push(...numberLine(cell));
    if (cell.sees != null && cell.state !== "given") parts.push(sight(focus, cell, state));
    if (names.length && canForce(focus.lane)) parts.push(make("p", { class: "uf-head" }, t("inspector.force")), make("p", { class: "uf-help" }, t(letters ? "inspector.force.letter.help" : "inspector.force.help")));
    return parts;
  }

  /** How a slot of a strip was read. */
  function letterSentence(focus, cell, state) {
    const p = inWords(cell.chance);
    if (cell.state !== "committed") return t(state.done ? "say.letter.behind" : "say.letter.masked");
    const { printed } = state.canvas;
    const truth = printed[focus.cell] ?? (focus.cell === printed.length ? stop : null);
    const said = [t(cell.origin === "forced" ? "say.letter.forced" : "say.letter", { p })];
    if (truth !== cell.value) said.push(truth === null ? t("say.letter.nothing") : t("say.letter.printed", { word: named(truth) }));
    return said.join(" ");
  }

  function current(cell) {
    if (cell.state === "proposed" || cell.state === "accepted") return cell.draft;
    if (cell.state === "rejected") return cell.replacement;
    if (cell.state === "withdrawn") return cell.was;
    return cell.value;
  }

  function sentence(cell, value) {
    const word = named(value);
    const p = inWords(cell.chance ?? cell.p);
    if (cell.origin === "forced") return p ? t("say.forced", { p }) : t("say.forced.plain");
    if (cell.state === "withdrawn") return t(["discard", "remask"].includes(cell.why) ? `say.withdrawn.${cell.why}` : "say.withdrawn", { word });
    if (cell.state === "proposed") return t("say.proposed", { p });
    if (cell.verdict === "accepted") return cell.ratio >= 1 ? t("say.kept.sure", { word: named(cell.draft) }) : t("say.kept", { word: named(cell.draft), u: fine(cell.u) });
    if (cell.verdict === "rejected") return t(value == null ? "say.rejected" : "say.rejected.word", { u: fine(cell.u), draft: named(cell.struck ?? cell.draft), word });
    if (cell.rivals && cell.state !== "committed") return t("say.rivals", { n: cell.rivals.length });
    if (cell.rivals) return t("say.agreed", { word, p });
    if (cell.state === "committed") {
      const cut = cutWords(cell);
      const { before, after } = cell.dists ?? {};
      if (cut && after.top.filter(([, chance_]) => chance_ > 0).length === 1) return t("say.sampled.only", { word });
      if (cut) return t("say.sampled.cut", { n: cut, m: before.top.filter(([, chance_]) => chance_ > 0).length, word, p });
      return t("say.sampled", { word, p });
    }
    return t(cell.state === "given" ? "say.given" : "say.masked");
  }

  function cutWords(cell) {
    const { before, after } = cell.dists ?? {};
    if (!before || !after) return 0;
    return before.top.filter(([w, p]) => p > 0 && !chance(after, w)).length;
  }

  const chance = (dist, word) => dist?.top.find(([w]) => w === word)?.[1];

  function bars(focus, cell, value, names) {
    const dists = cell.dists;
    const seen = new Map();
    const note = (word, p, bonus = 0) => seen.set(word, Math.max(seen.get(word) ?? 0, p + bonus));
    for (const name of names) for (const [word, p] of dists[name]?.top ?? []) note(word, p);
    for (const word of [value, cell.struck, cell.draft]) if (word != null) note(word, 0, 2);
    for (const [word, p] of dists.residual?.top ?? []) note(word, p * 0.3);
    const by = (word) => Math.max(...names.map((n) => chance(dists[n], word) ?? 0));
    const list = [...seen.entries()].filter(([w]) => !isPad(w)).sort((a, b) => b[1] - a[1]).filter(([, weight], i) => i < LEAST || weight >= 0.005).slice(0, MOST).map(([w]) => w).sort((a, b) => by(b) - by(a));
    const all = [...names, ...(dists.residual && cell.verdict === "rejected" ? ["residual"] : [])];
    const peak = Math.max(0.05, ...list.flatMap((w) => [...all, "truth"].map((n) => chance(dists[n], w) ?? 0)));
    const force = canForce(focus.lane);
    const rows = list.map((word) => {
      const cut = dists.before && dists.after && !chance(dists.after, word);
      const pair = make("span", { class: "uf-pair" });
      const nums = make("span", { class: "uf-nums" });
      const tiny = names.every((n) => (chance(dists[n], word) ?? 0) < 0.005) && !cut;
      for (const name of all) {
        if (!dists[name]) continue;
        const p = chance(dists[name], word);
        if (name !== "residual" || p > peak * 0.03) pair.append(make("span", { class: "uf-one", "data-name": name, style: `width:${(100 * (p ?? 0)) / peak}%` }));
        if (tiny && name !== names[0]) continue;
        if (name !== "residual") nums.append(make(name === names[1] ? "b" : "span", tiny ? { class: "uf-tiny" } : {}, cut && name === "after" ? t("inspector.cut") : p == null ? "<.01" : short(p)));
      }
      const truth = chance(dists.truth, word) ?? (dists.truth && dists.truth.rest < 0.005 ? 0 : null);
      if (truth != null) pair.append(make("span", { class: "uf-truth", style: `left:${(100 * truth) / peak}%`, title: `${t("inspector.truth")} ${short(truth)}` }));
      const said = [named(word), ...all.filter((n) => dists[n]).map((n) => `${label(n)} ${short(chance(dists[n], word) ?? 0)}`), truth == null ? "" : `${t("inspector.truth")} ${short(truth)}`].filter(Boolean).join(", ");
      const write = t(player.state(focus.lane).canvas.kind === "strip" ? "inspector.force.letter.button" : "inspector.force.button", { word: named(word) });
      const name = force ? `${said}. ${write}` : said;
      return make("li", { "data-now": word === value, "data-gone": word === cell.struck && word !== value, "data-cut": Boolean(cut) },
        make("button", { type: "button", disabled: !force, "aria-label": name, title: force ? write : null, "data-word": word, "data-key": `bar ${word}`, onclick: () => player.force(focus.lane, focus.cell, word) },
          make("span", { class: "uf-bar-word", "data-long": named(word).length > 9 }, named(word)), pair, nums));
    });
    return make("ul", { class: "uf-bars" }, ...rows);
  }

  function label(name) {
    const key = `inspector.${name}`;
    const known = t(key);
    return known === key ? name : known;
  }

  function legend(cell, names) {
    const keys = names.filter((n) => cell.dists[n]);
    if (cell.dists.residual && cell.verdict === "rejected") keys.push("residual");
    if (cell.dists.before && cutWords(cell)) keys.push("cut");
    if (cell.dists.truth) keys.push("truth");
    return make("p", { class: "uf-key" }, ...keys.map((n) => make("span", {}, make("i", { "data-name": n }), label(n))));
  }

  /** The beginnings that were compared at this word, best first, and which of them went on. */
  function rivals(cell, state) {
    const open = new Map(state.tree.map((node) => [node.id, node]));
    const agreed = cell.state === "committed" && cell.rivals.find((node) => node.value === cell.value && node.p === cell.chance);
    const rows = cell.rivals.map((node) => {
      const gone = agreed ? node !== agreed : open.get(node.id)?.cut !== null;
      return make("li", { "data-gone": gone }, make("span", {}, named(node.value)), make("span", {}, short(node.p)), make("b", {}, total(node.score)));
    });
    const head = make("li", { class: "uf-rivals-head" }, make("span", {}, t("inspector.rivals.word")), make("span", {}, t("inspector.rivals.p")), make("span", {}, t("inspector.rivals.score")));
    return [make("p", { class: "uf-head" }, t("inspector.rivals")), make("ol", { class: "uf-rivals" }, head, ...rows)];
  }

  /** 0 to 1: the part below the ratio keeps the guess; the drawn number decides. */
  function numberLine(cell, title = t("inspector.was", { word: named(cell.draft ?? cell.struck) })) {
    const ratio = Math.min(1, Math.max(0, cell.ratio));
    const kept = cell.verdict === "accepted";
    const at = (share) => `${(100 * share).toFixed(2)}%`;
    const marks = [
      make("i", { class: "uf-track" }),
      make("i", { class: "uf-region", style: `width:${at(ratio)}` }),
      make("i", { class: "uf-limit", style: `left:${at(ratio)}` }),
    ];
    if (cell.u != null) marks.push(make("i", { class: "uf-drawn", "data-kept": kept, style: `left:${at(cell.u)}` }));
    const side = (share) => (share > 0.6 ? `right:${at(1 - share)};transform:translateX(${share > 0.88 ? "0" : "50%"})` : `left:${at(share)};transform:translateX(${share < 0.12 ? "0" : "-50%"})`);
    const line = make("div", { class: "uf-line", role: "img", "aria-label": `${t("inspector.kept", { n: fine(ratio) })}, ${t("inspector.drawn", { n: fine(cell.u) })}` }, ...marks,
      make("span", { style: `${side(ratio)};top:-.125rem` }, ratio >= 1 ? t("inspector.always") : t("inspector.kept", { n: fine(ratio) })));
    if (cell.u != null) line.append(make("span", { class: "uf-u", style: `${side(cell.u)};bottom:-.25rem` }, t("inspector.drawn", { n: fine(cell.u) })));
    return [make("p", { class: "uf-head" }, title), line];
  }

  /** One stroke a word: ink where this cell could look, hollow where not, itself in blue. Pointing lights the stage. */
  function sight(focus, cell, state) {
    const cells = player.sees(focus.lane, focus.cell);
    const known = new Set(cells);
    const m = state.open ? Math.max(focus.cell + 1, player.lane(focus.lane).extent) : state.cells.length;
    const svg = make("svg", { viewBox: `0 0 ${m * 6} 12`, preserveAspectRatio: "none", "aria-hidden": "true" });
    for (let i = 0; i < m; i++) {
      const own = i === focus.cell;
      const fill = own ? "var(--committed)" : known.has(i) ? "var(--ink)" : "none";
      svg.append(make("rect", { x: i * 6 + 1, y: own ? 0 : 2, width: 4, height: own ? 12 : 8, fill, stroke: known.has(i) || own ? "none" : "var(--control-line)", "stroke-width": 0.8 }));
    }
    const on = () => player.light({ lane: focus.lane, cell: focus.cell, cells });
    const off = () => player.light(null);
    return make("button", { type: "button", class: "uf-sees", "data-key": "sees", onpointerenter: on, onpointerleave: off, onfocus: on, onblur: off, onclick: on },
      make("span", {}, t(state.canvas.kind === "strip" ? "inspector.sees.letters" : "inspector.sees", { n: cells.length, m })), svg);
  }

  // While the cursor is dragged quickly the stage comes first: the bars follow some ten times a second.
  let drawnAt = 0;
  let rest = 0;
  const later = () => {
    const wait = drawnAt + 90 - performance.now();
    if (wait > 0) {
      rest ||= setTimeout(() => { rest = 0; later(); }, wait);
      return;
    }
    drawnAt = performance.now();
    pending ||= requestAnimationFrame(draw);
  };
  const offs = [player.on("change", later), player.on("select", later)];
  draw();
  return {
    draw,
    destroy() {
      offs.forEach((f) => f());
      cancelAnimationFrame(pending);
      clearTimeout(rest);
      player.light(null);
      element.classList.remove("uf-inspector");
      element.replaceChildren();
    },
  };
}
