// The head of a lane on every stage: its title, what is done, its time, and its calls as dots.

import { make } from "../player/words.js";

const ROW = { wide: 28, narrow: 14 }; // dots in one row
const NARROW = 480;

export class Head {
  constructor(t, player, lane) {
    Object.assign(this, { t, player, lane });
    this.title = make("h3", { class: "uf-lane-title" });
    this.count = make("span", { class: "uf-lane-count" });
    this.ms = make("span", { class: "uf-lane-ms", title: t("stage.ms.title") });
    this.more = make("span", { class: "uf-lane-drafts" });
    this.dots = make("svg", { class: "uf-dots", role: "img" });
    this.number = make("b", { class: "uf-lane-number" });
    this.unit = make("span", { class: "uf-lane-unit" });
    this.root = make("header", { class: "uf-lane-head" },
      make("div", { class: "uf-lane-left" }, this.title, make("span", { class: "uf-lane-facts" }, this.count, this.ms, this.more)),
      make("div", { class: "uf-lane-calls" }, this.dots, make("span", { class: "uf-lane-total", title: t("stage.calls.title") }, this.number, this.unit)));
    // Watched rather than asked for at each change, which would lay the page out again.
    new ResizeObserver(([{ contentRect }]) => {
      this.narrow = contentRect.width < NARROW;
      this.#lay();
      this.#light();
    }).observe(this.root);
  }

  /**
   * said: what is done; widest: the longest that this can become, so that the head never breaks differently while
   * numbers grow; most: dots; unit: what stands behind the number of calls; more: a second fact.
   */
  draw(state, { said, widest = said, most, unit, more = "" }) {
    const { t } = this;
    write(this.title, this.player.title(this.lane));
    write(this.count, said);
    this.count.style.minWidth = `${(widest.length * 0.5).toFixed(1)}em`;
    write(this.ms, t("stage.ms", { n: state.t < 10 ? state.t.toFixed(1) : Math.round(state.t) }));
    write(this.more, more);
    write(this.number, String(state.calls));
    write(this.unit, unit);
    this.dots.setAttribute("aria-label", t("stage.dots", { n: state.calls, m: most }));
    this.wanted = most;
    this.#lay();
    this.calls = state.calls;
    this.#light();
  }

  /** A run that was asked for has done nothing yet. */
  empty() {
    for (const part of [this.count, this.ms, this.more]) write(part, "");
    write(this.number, "0");
    this.calls = 0;
    this.#light();
  }

  #light() {
    this.views?.forEach((dot, i) => dot.classList.toggle("is-on", i < this.calls));
  }

  // Many calls stand in rows, so that a dot stays a dot.
  #lay() {
    const most = this.wanted;
    const key = `${most} ${this.narrow}`;
    if (!most || key === this.key) return;
    this.key = key;
    const rows = Math.min(3, Math.ceil(most / (this.narrow ? ROW.narrow : ROW.wide)));
    const columns = Math.ceil(most / rows);
    const gap = Math.min(11, 220 / columns);
    const r = Math.min(gap * 0.36, 3.6);
    this.views = Array.from({ length: most }, (_, i) => make("circle", { cx: gap / 2 + (i % columns) * gap, cy: 6 + Math.floor(i / columns) * 8.5, r }));
    this.dots.setAttribute("viewBox", `0 0 ${columns * gap} ${12 + (rows - 1) * 8.5}`);
    this.dots.style.width = `${(columns * gap) / 16}rem`;
    this.dots.replaceChildren(...this.views);
  }
}

/** Set text only where it differs. */
export function write(element, value) {
  if (element.textContent !== value) element.textContent = value;
}
