// Home: one recorded run that plays, one sentence, one invitation; under it the map of all exhibits.

import { el, lines, named, put, set } from "../shell/dom.js";
import { mountNote } from "../stage/note.js";
import { mountStages } from "../shell/stages.js";
import { Player } from "../player/player.js";
import { portrait } from "./portrait.js";

const PLAY_MS = 5000;
const READ_MS = 1800;

export function mount(element, { data, words, transport, link, say, keep }) {
  const hero = data.exhibits.find((e) => e.slug === data.hero);
  const player = new Player();
  const portraits = [];
  let lane = null;
  let alive = true;
  let quiet = 0;

  const stage = el("div", { class: "hero-stage" });
  const note = el("div", { class: "note-line" });
  const caption = el("p", { class: "hero-caption" });
  const playButton = el("button", { type: "button", class: "button quiet hero-play", onclick: () => { clearTimeout(quiet); player.playing ? player.pause() : player.play(); } }, words("hero.play"));
  const top = el("section", { class: "hero", "aria-labelledby": "hero-title" },
    el("h1", { id: "hero-title", tabindex: -1 }, words("home.headline")),
    el("div", { class: "hero-body" }, stage, note, caption),
    el("div", { class: "hero-foot" }, hero && link(`?exhibit=${hero.slug}`, words("home.invitation"), { class: "run-button hero-enter" }), playButton));
  const map = el("section", { class: "atlas", "aria-labelledby": "atlas-title" },
    el("h2", { id: "atlas-title" }, words("atlas.title")), el("p", { class: "atlas-line" }, words("atlas.line")), atlas());
  set(element, el("main", { class: "home", id: "unfold-main" }, top, map, el("footer", { class: "credits" }, el("p", {}, words("home.foot")))));

  const spoken = mountNote(note, player);

  // ---- hero

  async function playHero() {
    if (!hero?.trace) {
      stage.hidden = note.hidden = playButton.hidden = true;
      return;
    }
    try {
      player.load(named(lines(await transport.trace(hero.trace)), hero));
    } catch (error) {
      console.error(error);
      stage.hidden = note.hidden = playButton.hidden = true;
      return;
    }
    if (!alive) return;
    const { telling } = data;
    const id = telling?.lane ?? hero.lanes.map((l) => l.id).find((l) => player.lanes.includes(l));
    lane = mountStages(stage, player, { lanes: [id], strings: data.strings });
    const why = hero.why_this_seed;
    put(caption, words(why ? "hero.caption.why" : "hero.caption", { seed: player.header?.seed ?? hero.seed ?? 1, why }));
    // the still in the document shows this moment: the player goes on from there, after time to read it
    if (telling) player.seekEvent(id, telling.n);
    else player.seek(player.length);
    if (player.reducedMotion) return;
    quiet = setTimeout(() => {
      player.play();
      quiet = setTimeout(() => player.pause(), PLAY_MS);
    }, READ_MS);
  }

  const off = [
    player.on("change", () => {
      playButton.textContent = words(player.playing ? "hero.pause" : "hero.play");
    }),
    // a click on a word of the hero leads to the exhibit, where it can be changed
    player.on("select", (what) => { if (what) top.querySelector(".hero-enter")?.click(); }),
  ];

  // ---- atlas

  function atlas() {
    const columns = unique(data.exhibits.map((e) => e.map.order));
    const rows = unique(data.exhibits.map((e) => e.map.what));
    const most = Math.max(1, ...rows.map((what) => unique(data.exhibits.filter((e) => e.map.what === what).map((e) => e.map.order)).length));
    return el("div", { class: "atlas-map", style: `--columns: ${most}` },
      rows.map((what) => el("div", { class: "atlas-row" },
        el("h3", { class: "atlas-what" }, label("what", what)),
        columns.map((order) => {
          const here = data.exhibits.filter((e) => e.map.what === what && e.map.order === order);
          return here.length > 0 && el("div", { class: "atlas-cell" },
            el("p", { class: "atlas-order" }, label("order", order)), here.map(door));
        }))));
  }

  function door(exhibit) {
    const frame = el("span", { class: "door-portrait", "aria-hidden": "true" });
    portraits.push({ exhibit, frame });
    return link(`?exhibit=${exhibit.slug}`, [frame,
      el("span", { class: "door-title" }, exhibit.title),
      el("span", { class: "door-line" }, exhibit.line),
      el("span", { class: "door-meta" }, `${exhibit.paper.venue ?? ""}${exhibit.paper.venue ? " · " : ""}${words(exhibit.minutes === 1 ? "exhibit.minute" : "exhibit.minutes", { n: exhibit.minutes })}`)],
    { class: "door", "data-exhibit": exhibit.slug });
  }

  function label(kind, name) {
    const key = `atlas.${kind}.${name}`;
    const known = words(key);
    return known === key ? String(name).replaceAll("_", " ") : known;
  }

  // the portraits are drawn from the recorded runs themselves, when they come into view
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      const { exhibit, frame } = portraits.find((p) => p.frame === entry.target);
      transport.trace(exhibit.portrait).then((text) => { if (alive) put(frame, portrait(text)); }).catch(() => frame.remove());
    }
  }, { rootMargin: "200px" });
  portraits.forEach(({ exhibit, frame }) => (exhibit.portrait ? watcher.observe(frame) : frame.remove()));

  playHero();
  keep({ settings: {} }, null);

  return {
    receive() {},
    key(event) {
      if (event.key !== " ") return false;
      clearTimeout(quiet);
      player.playing ? player.pause() : player.play();
      return true;
    },
    query: () => location.search,
    retheme: () => lane?.draw(),
    player,
    say,
    destroy() {
      alive = false;
      clearTimeout(quiet);
      watcher.disconnect();
      off.forEach((f) => f());
      player.pause();
      spoken.destroy();
      lane?.destroy();
      set(element);
    },
  };
}

function unique(list) {
  return [...new Set(list)];
}
