// The tree of a search over words: every beginning that is still open, from what all of them share to their newest
// words. The best line runs straight on; where beginnings part, the others hang below it, best first. What was cut in
// the latest step is struck; with the next step it is gone.

import { isPunctuation, make, spelled, total } from "../player/words.js";

const WHOLE = 5; // so many words of a branch stand in full, of longer ones the first two and the last two

export class Tree {
  constructor(t) {
    this.t = t;
    this.caption = make("p", { class: "uf-tree-caption" });
    this.list = make("ul", { class: "uf-tree-list", "aria-label": t("tree.label") });
    this.box = make("div", { class: "uf-tree-box", tabindex: 0, role: "group", "aria-label": t("tree.label") }, this.list);
    this.root = make("div", { class: "uf-tree" }, this.caption, this.box);
    this.drawn = null;
  }

  /** state.tree holds the nodes; `widest` of them are proposed at once at most, and room is kept for so many lines. */
  draw(state, widest) {
    const key = `${state.group} ${Boolean(state.done)}`;
    if (this.drawn?.tree === state.tree && this.drawn.key === key) return;
    this.drawn = { tree: state.tree, key };
    this.root.style.setProperty("--lines", String(widest));
    this.caption.textContent = state.tree.length ? this.t(state.done ? "tree.over" : "tree.caption") : "";
    const first = Math.min(...state.tree.map((node) => node.cell));
    const root = state.cells[first - 1]?.value;
    const branches = grown(state.tree, Boolean(state.done)).map((node) => this.#branch(node));
    const trunk = make("span", { class: "uf-branch uf-trunk" }, root == null ? "" : `\u2026 ${spelled(root, this.t)}`);
    this.list.replaceChildren(...(branches.length ? [make("li", {}, trunk, make("ul", {}, ...branches))] : []));
    // The newest words are what is told; on a narrow page they lie to the right.
    this.box.scrollLeft = this.box.scrollWidth;
  }

  #branch({ nodes, tails, best }) {
    const gone = nodes[0].cut !== null;
    const words = nodes.map((node) => (isPunctuation(node.value) ? node.value : spelled(node.value, this.t)));
    const text = words.length > WHOLE ? `${joined(words.slice(0, 2))} \u2026 ${joined(words.slice(isPunctuation(words.at(-2)) ? -1 : -2))}` : joined(words);
    const label = make(gone ? "s" : "span", { class: "uf-branch-words", title: words.length > WHOLE ? joined(words) : null }, text);
    const parts = [make("span", { class: "uf-branch", "data-gone": gone, "data-kept": nodes[0].kept !== null, "data-tip": !tails.length }, label)];
    if (!tails.length) parts[0].append(make("span", { class: "uf-branch-score" }, total(best)), gone ? make("span", { class: "uf-hidden" }, `, ${this.t("tree.cut")}`) : "");
    else parts.push(make("ul", {}, ...tails.map((tail) => this.#branch(tail))));
    return make("li", {}, ...parts);
  }
}

/** Nodes as branches: {nodes: words that follow one another without a fork, tails: branches, best: score}, best first. */
function grown(nodes, over) {
  const known = new Set(nodes.map((node) => node.id));
  const after = new Map();
  for (const node of nodes) {
    const from = known.has(node.parent) ? node.parent : -1;
    after.set(from, [...(after.get(from) ?? []), node]);
  }
  const newest = Math.max(...nodes.map((node) => node.n));
  const follow = (start) => {
    const run = [start];
    for (let next = after.get(start.id) ?? []; next.length === 1 && next[0].cut === start.cut && next[0].kept === start.kept && (over || next[0].n < newest); next = after.get(next[0].id) ?? []) run.push(next[0]);
    const tails = (after.get(run.at(-1).id) ?? []).map(follow).sort(byScore);
    return { nodes: run, tails, best: tails.length ? tails[0].best : run.at(-1).score, gone: start.cut !== null };
  };
  return (after.get(-1) ?? []).map(follow).sort(byScore);
}

const byScore = (a, b) => Number(a.gone) - Number(b.gone) || b.best - a.best;

/** Words as a line of text, signs close to the word before them. */
const joined = (words) => words.map((word, i) => (i && !isPunctuation(word) ? ` ${word}` : word)).join("");
