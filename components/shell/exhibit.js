// One exhibit: controls, lanes, note line, timeline, inspector, and under them idea, claims and question.
// All that a run says goes to the player; everything here is drawn from its state.

import { baton, el, lines, memory, named, outward, put, set } from "./dom.js";
import { write } from "./url.js";
import * as controls from "./controls.js";
import * as claims from "../claim/claim.js";
import { Player, expand, isPicture } from "../player/player.js";
import * as table from "../player/table.js";
import * as inspector from "../inspector/inspector.js";
import { nodeOf } from "../inspector/node.js";
import { placeOf } from "../inspector/square.js";
import * as timeline from "../timeline/timeline.js";
import { mountNote } from "../stage/note.js";
import { mountStages } from "./stages.js";

const SILENT_MS = 8000; // the server sends a beat every 5 s; without one for so long it is asked whether it lives
const LOST_MS = 14000; // and without anything new for so long, though it lives, the run is given up
const HUSH_MS = 1500; // a page that goes away in mid-run, and heard nothing for so long, did so because its line broke

export function mount(element, { exhibit, asked, data, words, transport, link, say, keep, disconnected }) {
  const player = new Player();
  const usualLanes = exhibit.lanes.filter((l) => l.default).map((l) => l.id);
  const state = {
    seed: asked.seed ?? exhibit.seed ?? 1, lanes: asked.lanes ?? usualLanes, interventions: asked.interventions,
    run: null, phase: "idle", started: 0, heard: 0, gone: false, broke: false, base: null, fork: null, beat: 0,
  };
  const mounts = [];
  const timers = [];
  let alive = true;

  // ---- the page

  const runButton = el("button", { type: "button", class: "run-button", onclick: () => (busy() ? stop() : run()) }, words("run.run"));
  let lectureRun = null; // the same button where the controls are hidden
  const status = el("p", { class: "run-status", role: "status" });
  const seedField = el("input", { type: "text", inputmode: "numeric", class: "seed-field", "aria-label": words("run.seed"), value: String(state.seed), size: 7, maxlength: 16, onchange: () => setSeed(seedField.value) });
  const another = el("button", { type: "button", class: "button plain another", onclick: () => { setSeed(String(Math.floor(Math.random() * 9000) + 1)); run(); } }, words("run.another"));
  const seedError = el("p", { class: "control-error", role: "alert", hidden: true });
  const laneBoxes = exhibit.lanes.length > 1 && el("fieldset", { class: "lane-choice" }, el("legend", {}, words("control.lanes")),
    exhibit.lanes.map((lane) => el("label", { class: "check", title: lane.line ?? "" },
      el("input", { type: "checkbox", value: lane.id, checked: state.lanes.includes(lane.id), onchange: (e) => chooseLane(lane.id, e.target) }), el("span", {}, lane.title))));
  const settingsBox = el("div", { class: "settings" });
  const panel = controls.mount(settingsBox, {
    settings: exhibit.settings, values: { ...exhibit.recorded, ...asked.settings }, words,
    onchange: () => { remember(); drawStatus(); },
    onpick: (name, on) => stages.set(on ? { pickBlanks: kindOfSetting(name) === "sequence" ? "order" : true, value: panel.values()[name] } : { pickBlanks: false, blanks: null }),
  });
  const kindOfSetting = (name) => exhibit.settings.find((s) => s.name === name)?.kind;
  const runBox = el("div", { class: "run-box" }, runButton,
    el("div", { class: "seed-row" }, el("label", {}, `${words("run.seed")} `, seedField), another), seedError, status);
  const controlsBox = el("section", { class: "controls", id: "panel-controls", "aria-label": words("panel.controls") }, settingsBox, laneBoxes);

  const whatIf = el("div", { class: "what-if", role: "status", hidden: true });
  const queueLine = el("div", { class: "queue-line", role: "status", hidden: true });
  const trouble = el("div", { class: "trouble", role: "alert", hidden: true });
  const lanesBox = el("div", { class: "lanes" });
  const note = el("div", { class: "note-line" });
  const timelineBox = el("div", { class: "timeline-box" });
  const center = el("section", { class: "center", "aria-label": words("panel.stage") }, whatIf, trouble, queueLine, lanesBox, el("div", { class: "dock" }, note, timelineBox));
  const inspect = el("div");
  const inspectorBox = el("aside", { class: "inspector-box", id: "panel-inspect", "aria-label": words("panel.inspect") }, inspect,
    el("button", { type: "button", class: "button quiet sheet-close", onclick: () => player.select(null) }, words("inspector.close")));

  const head = el("header", { class: "exhibit-head" },
    el("div", { class: "exhibit-name" },
      el("p", { class: "crumbs" }, link("", words("header.atlas")), el("span", { "aria-hidden": "true" }, " › "), el("span", {}, wordOf("atlas.what", exhibit.map.what))),
      el("h1", { tabindex: -1 }, exhibit.title)),
    el("p", { class: "exhibit-line" }, exhibit.line),
    el("p", { class: "exhibit-meta" }, paperLinks(), el("span", {}, words(exhibit.minutes === 1 ? "exhibit.minute" : "exhibit.minutes", { n: exhibit.minutes }))));

  const tabs = el("div", { class: "tabs", role: "group", "aria-label": words("panel.tabs") },
    ["controls", "inspect", "idea"].map((name) => el("button", { type: "button", "data-tab": name, "aria-pressed": name === "controls", onclick: () => tab(name) }, words(`tab.${name}`))));

  const beatBox = el("section", { class: "beats", "aria-labelledby": "beats-title" });
  const claimBox = el("section", { class: "claims", "aria-labelledby": "claims-title" },
    el("h2", { class: "section-title", id: "claims-title" }, words(exhibit.claims.length > 1 ? "section.claims" : "section.claim")));
  const questionBox = el("section", { class: "question", "aria-labelledby": "question-title" });
  const below = el("div", { class: "below", id: "panel-idea" }, beatBox, claimBox, questionBox);
  const textBox = el("details", { class: "as-text" }, el("summary", {}, words("section.text")));
  const credits = el("footer", { class: "credits" },
    el("p", {}, el("cite", {}, exhibit.paper.title), `. ${exhibit.paper.authors.replace(/\.$/, "")}. ${exhibit.paper.venue}.`, exhibit.paper.arxiv ? [" ", outward(`arXiv ${exhibit.paper.arxiv}`, `https://arxiv.org/abs/${exhibit.paper.arxiv}`)] : null),
    el("p", {}, words("credits.ours")));
  const page = el("main", { class: "exhibit", id: "unfold-main", "data-tab": "controls", "data-exhibit": exhibit.slug, "data-what": exhibit.map.what },
    head, el("div", { class: "workspace" }, controlsBox, center, inspectorBox), tabs, below, textBox, credits);
  set(element, page);
  // on a phone Run comes before the stage, not two screens below it
  const phone = matchMedia("(max-width: 767px)");
  const placeRun = () => (phone.matches ? head.after(runBox) : controlsBox.prepend(runBox));
  phone.addEventListener("change", placeRun);
  placeRun();

  /** A lecturer turns the pages of the idea above the stage, not below it. */
  function lecture(on) {
    (on ? center : below).prepend(beatBox);
  }
  if (asked.lecture) lecture(true);

  const claimCards = claims.mount(claimBox, { exhibit, strings: data.strings, transport });
  drawBeats();
  drawQuestion();
  const letters = { get letters() { return memory.get("keys") !== "off"; } };
  const line = timeline.mount(timelineBox, player, { strings: data.strings, options: letters });
  mounts.push(line, inspector.mount(inspect, player, { strings: data.strings, options: { interventions: exhibit.interventions, codes: data.codes } }));
  let textTable = null;
  textBox.addEventListener("toggle", () => {
    if (textBox.open && !textTable) {
      textTable = table.mount(put(textBox, el("div", { class: "as-text-body" })).lastElementChild, player, { strings: data.strings, options: {} });
      mounts.push(textTable);
    }
  });

  function paperLinks() {
    const all = Object.entries(exhibit.paper.links ?? {});
    if (exhibit.paper.arxiv && !all.some(([label]) => label === "paper")) all.unshift([words("exhibit.paper"), `https://arxiv.org/abs/${exhibit.paper.arxiv}`]);
    return all.map(([label, url]) => outward(label, url));
  }

  function wordOf(kind, name) {
    const key = `${kind}.${name}`;
    const known = words(key);
    return known === key ? String(name).replaceAll("_", " ") : known;
  }

  // ---- lanes on the stage

  const stages = mountStages(lanesBox, player, { lanes: state.lanes, strings: data.strings, options: { codes: data.codes } });
  mounts.push(stages, mountNote(note, player, { options: { names: true } }));

  function drawLanes() {
    stages.lanes(state.lanes);
  }

  function chooseLane(id, box) {
    const chosen = exhibit.lanes.map((l) => l.id).filter((l) => (l === id ? box.checked : state.lanes.includes(l)));
    if (!chosen.length) {
      box.checked = true;
      return;
    }
    state.lanes = chosen;
    remember();
    if (box.checked && !player.lanes.includes(id)) run();
    else drawLanes();
  }

  // ---- runs

  const busy = () => state.phase === "queued" || state.phase === "running";
  const waits = () => busy() || state.phase === "stopping";

  function setSeed(text) {
    const good = /^\d{1,16}$/.test(text.trim()) && Number(text) <= Number.MAX_SAFE_INTEGER;
    seedError.hidden = good;
    seedField.toggleAttribute("aria-invalid", !good);
    if (!good) {
      seedError.textContent = words("run.seed.bad");
      return false;
    }
    state.seed = Number(text);
    seedField.value = String(state.seed);
    panel.told("");
    remember();
    drawStatus();
    return true;
  }

  /** A fresh run of all chosen lanes. */
  function run({ at = null, keepChanges = false } = {}) {
    if (!seedError.hidden) return;
    if (!keepChanges) state.interventions = [];
    forget();
    state.seekTo = at;
    ask(state.lanes);
    player.open(state.run);
    player.play();
    remember();
    drawWhatIf();
  }

  function ask(lanes) {
    if (busy()) transport.cancel(state.run);
    panel.clear();
    panel.unpick();
    trouble.hidden = true;
    state.run = transport.run({ exhibit: exhibit.slug, settings: panel.values(), seed: state.seed, interventions: state.interventions, lanes });
    state.asked = { settings: JSON.stringify(panel.values()), seed: state.seed };
    state.broke = false;
    beatBox.show?.();
    state.started = state.heard = performance.now();
    state.pressed = performance.now();
    enter("running");
  }

  function stop() {
    // the second click of a double click on Run must not stop what the first one started
    if (performance.now() - state.pressed < 400) return;
    transport.cancel(state.run);
    enter("stopping");
  }

  /** Another value at a cell: only its lane is computed again, what came before stays on screen. */
  function branch(change) {
    const supported = exhibit.interventions?.[change.lane] ?? [];
    if (!supported.includes(change.do)) return;
    const whole = !busy() && player.ended;
    if (showing() === "base") state.interventions = [];
    if (!state.base && whole && !state.interventions.length) state.base = snapshot();
    state.fork = null;
    stages.set({ others: null });
    state.interventions = [...state.interventions.filter((c) => !(c.lane === change.lane && c.cell === change.cell)), change];
    ask(whole ? [change.lane] : state.lanes);
    if (narrow()) player.select(null); // the sheet makes way for what follows
    player.branch(state.run, { [change.lane]: change.after });
    player.seekEvent(change.lane, change.after);
    player.play();
    remember();
    drawWhatIf();
  }

  function backToOriginal() {
    state.interventions = [];
    if (!state.base) return run();
    if (busy()) transport.cancel(state.run);
    const { base } = state;
    forget();
    state.run = null;
    show(base);
    enter("over");
    remember();
    drawWhatIf();
  }

  function snapshot() {
    return { header: player.header, events: player.lanes.flatMap((id) => player.events(id)), asked: state.asked };
  }

  /** Put a kept run on the stage, the playhead where it was, or at the end if it was there. */
  function show(kept) {
    const { at } = player.cursor;
    const over = at >= player.length;
    state.asked = kept.asked;
    player.load({ header: { trace: 1, ...kept.header }, events: kept.events });
    player.seek(over ? player.length : at);
  }

  // ---- both futures: the run as it was, and with the reader's word

  const showing = () => (!state.base || !state.fork ? null : state.shown);

  function forget() {
    state.base = state.fork = null;
    stages.set({ others: null });
  }

  /** The changed run is whole: keep it beside the original, and note at each word what the other one has there. */
  function bothFutures() {
    if (!state.base || !state.interventions.length) return;
    state.fork = snapshot();
    state.shown = "fork";
    mark(state.base);
    drawWhatIf();
  }

  function lastWords(kept, lane) {
    const words_ = {};
    for (const e of kept.events) if (e.lane === lane && e.kind === "commit") expand(e.cells).forEach((cell, i) => { words_[cell] = e.values?.[i]; });
    return words_;
  }

  function mark(other) {
    const lanes = [...new Set(state.interventions.map((c) => c.lane))];
    stages.set({ others: Object.fromEntries(lanes.map((lane) => [lane, lastWords(other, lane)])) });
  }

  /** How many words differ between the futures, the reader's own not counted. */
  function differing() {
    let n = 0;
    for (const lane of new Set(state.interventions.map((c) => c.lane))) {
      const [a, b] = [lastWords(state.base, lane), lastWords(state.fork, lane)];
      const own = state.interventions.filter((c) => c.lane === lane).map((c) => String(c.cell));
      n += [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((cell) => !own.includes(cell) && a[cell] !== b[cell]).length;
    }
    return n;
  }

  function flip(which) {
    if (showing() === which) return;
    state.shown = which;
    show(state[which]);
    mark(which === "fork" ? state.base : state.fork);
    drawWhatIf();
    drawStatus();
    whatIf.querySelector(`[data-future=${which}]`)?.focus();
  }

  function receive(frame) {
    claimCards.receive(frame);
    if (frame.run !== state.run) return;
    state.heard = performance.now();
    disconnected(false);
    if (frame.queue) {
      state.ahead = frame.queue.ahead;
      enter("queued");
    } else if (state.phase === "queued") enter("running");
    if (frame.refused) return refused(frame.refused);
    player.push(frame.events ? { ...frame, events: named(frame.events, exhibit) } : frame);
    tell();
    const broken = frame.events?.find((e) => e.kind === "failed");
    if (frame.failed) fail(frame.failed);
    else if (broken) fail({ message: words("run.lane", { lane: laneTitle(broken.lane) }), fix: broken.fix });
    if (frame.end && !player.ended) return; // frames before it are missing, and are being fetched
    if (frame.end) {
      state.took = performance.now() - state.started;
      enter({ cancelled: "cancelled", failed: "failed" }[frame.end.reason] ?? "over");
      if (state.phase === "over") bothFutures();
    }
    if (state.seekTo != null && frame.end) {
      player.pause();
      player.seek(state.seekTo);
      state.seekTo = null;
    }
  }

  /** A caption that was left open is the seed's: the run says which, and the control shows it. */
  function tell() {
    if (JSON.parse(state.asked.settings).caption) return;
    const note = player.lanes.map((id) => player.events(id).slice(0, 8).find((e) => e.kind === "note" && e.args?.caption)).find(Boolean);
    panel.told(note?.args.caption ?? "");
  }

  function refused({ field, message }) {
    enter("refused");
    player.pause();
    if (field === "seed") {
      seedError.textContent = message;
      seedError.hidden = false;
      seedField.focus();
    } else if (!panel.mark(field, message)) fail({ message, fix: "" });
    else tab("controls");
    say(message);
    if (!player.lanes.length) loadRecorded().then((there) => there && player.seek(player.length));
  }

  function fail({ message, fix }) {
    trouble.hidden = false;
    set(trouble, el("p", {}, message, fix ? ` ${fix}` : ""), el("button", { type: "button", class: "button quiet", onclick: () => {
      panel.set(Object.fromEntries(exhibit.settings.map((s) => [s.name, s.default])));
      run();
    } }, words("run.defaults")));
  }

  function warn(text) {
    trouble.hidden = false;
    set(trouble, el("p", {}, text));
    say(text);
  }

  function enter(phase) {
    state.phase = phase;
    page.dataset.run = phase;
    drawStatus();
  }

  function drawStatus() {
    const on = busy();
    runButton.textContent = on ? words("run.stop") : words("run.run");
    runButton.classList.toggle("stop", on);
    if (lectureRun) lectureRun.textContent = runButton.textContent;
    queueLine.hidden = state.phase !== "queued";
    if (state.phase === "queued") {
      set(queueLine, el("span", {}, words(state.ahead === 0 ? "run.next" : "run.queued", { ahead: state.ahead })),
        el("button", { type: "button", class: "button plain", onclick: () => { transport.cancel(state.run); enter("cancelled"); } }, words("run.cancel")));
    }
    const changed = !on && state.asked && (state.asked.settings !== JSON.stringify(panel.values()) || state.asked.seed !== state.seed);
    runButton.classList.toggle("changed", Boolean(changed));
    let text = "";
    if (state.phase === "refused") text = words("run.refused");
    else if (changed) text = words("run.changed");
    else if (state.phase === "recorded") text = [words("run.recorded"), state.recordedOn].filter(Boolean).join(" · ");
    else if (state.phase === "over") text = state.took ? words("run.over", { seconds: (state.took / 1000).toFixed(1) }) : "";
    else if (["cancelled", "failed", "stopping", "running"].includes(state.phase)) text = words(`run.${state.phase}`);
    status.textContent = text;
  }

  function drawWhatIf() {
    whatIf.hidden = !state.interventions.length;
    if (whatIf.hidden) return;
    const forced = state.interventions.filter((c) => c.do === "force");
    const last = forced.at(-1);
    const future = (which) => el("button", { type: "button", class: "future", "data-future": which, "aria-pressed": String(showing() === which), onclick: () => flip(which) }, words(which === "base" ? "whatif.base" : isPicture(canvas) ? "whatif.square.fork" : canvas?.kind === "strip" ? "whatif.letter.fork" : "whatif.fork"));
    const other = showing() && differing();
    const canvas = last && player.events(last.lane)[0]?.canvases?.[0];
    const graph = canvas?.kind === "graph";
    const kind = isPicture(canvas) ? "whatif.square" : graph ? "whatif.node" : canvas?.kind === "strip" ? "whatif.letter" : "whatif";
    const place = last && (isPicture(canvas) ? placeOf : graph ? nodeOf : () => "")(words, canvas, last.cell);
    const key = `${kind}.${forced.length > 1 ? "more" : "one"}`;
    set(whatIf,
      el("p", {}, last ? words(key, { cell: last.cell + 1, place, more: forced.length - 1, lane: laneTitle(last.lane) }) : words("whatif.seed"), " ",
        last && el("b", {}, String(last.value)), showing() && el("span", { class: "what-if-count" }, ` ${words(`${kind}.${other === 1 ? "other" : "others"}`, { n: other || words("whatif.none") })}`)),
      el("div", { class: "what-if-tools" },
        showing() && el("div", { class: "futures", role: "group", "aria-label": words("whatif.futures") }, future("base"), future("fork")),
        el("button", { type: "button", class: "button plain what-if-back", onclick: backToOriginal }, words("whatif.back"))));
  }

  function laneTitle(id) {
    return exhibit.lanes.find((l) => l.id === id)?.title ?? id;
  }

  async function loadRecorded() {
    if (!exhibit.trace) return false;
    try {
      const text = await transport.trace(exhibit.trace);
      if (!alive || busy()) return true;
      player.load(named(lines(text), exhibit));
      const head = player.header ?? {};
      if (asked.seed === null && head.seed != null) {
        state.seed = head.seed;
        seedField.value = String(head.seed);
      }
      state.asked = { settings: JSON.stringify({ ...panel.values(), ...head.settings }), seed: head.seed ?? state.seed };
      state.recordedOn = head.date ?? "";
      tell();
      enter(state.phase === "refused" ? "refused" : "recorded");
      return true;
    } catch (error) {
      console.error(error);
      return false;
    }
  }

  async function begin() {
    if (takeBaton()) return;
    const same = Object.entries(asked.settings).every(([k, v]) => v === (exhibit.recorded?.[k] ?? exhibit.settings.find((s) => s.name === k).default));
    const plain = !asked.interventions.length && same && (asked.seed ?? exhibit.seed) === exhibit.seed
      && state.lanes.every((l) => usualLanes.includes(l));
    if (plain && (await loadRecorded())) {
      if (asked.at != null) player.seek(asked.at);
      else if (!player.reducedMotion) player.play();
      else player.seek(player.length);
      return;
    }
    if (alive) run({ at: asked.at, keepChanges: true });
  }

  // ---- beats

  /** The stops whose sentences are true of the run that is shown. */
  function fitting() {
    const run = JSON.parse(state.asked?.settings ?? "{}");
    return exhibit.beats.filter((b) => Object.entries(b.only ?? {}).every(([name, value]) => (run[name] ?? value) === value));
  }

  function drawBeats() {
    if (!exhibit.beats.length) return;
    const text = el("p", { class: "beat-text" });
    const title = el("h2", { class: "section-title", id: "beats-title" });
    const look = el("p", { class: "beat-look" });
    const back = el("button", { type: "button", class: "button quiet", onclick: () => toBeat(state.beat - 1, true) }, words("beat.back"));
    const next = el("button", { type: "button", class: "button quiet", onclick: () => toBeat(state.beat + 1, true) }, words("beat.next"));
    lectureRun = el("button", { type: "button", class: "button lecture-run", onclick: () => runButton.click() }, words("run.run"));
    put(beatBox, title, text, look, el("div", { class: "beat-foot" }, lectureRun, back, next, el("button", { type: "button", class: "button plain", onclick: () => toBeat(state.beat, true) }, words("beat.show"))));
    beatBox.show = () => {
      const beats = fitting();
      state.beat = Math.min(state.beat, beats.length - 1);
      const beat = beats[state.beat];
      title.textContent = words("beat.title", { n: state.beat + 1, of: beats.length });
      text.textContent = beat.text;
      look.textContent = words(`beat.look.${beat.look}`);
      back.disabled = state.beat === 0;
      next.disabled = state.beat === beats.length - 1;
    };
    beatBox.show();
  }

  function toBeat(i, move) {
    const beats = fitting();
    if (i < 0 || i >= beats.length) return false;
    state.beat = i;
    beatBox.show();
    if (!move) return true;
    const beat = beats[i];
    const spot = find(beat.when);
    if (spot) {
      player.pause();
      player.seekEvent(spot.lane, spot.n);
      if (spot.cells?.length && beat.look === "inspector") player.select(spot.lane, Array.isArray(spot.cells[0]) ? spot.cells[0][0] : spot.cells[0]);
    }
    const place = { stage: lanesBox, timeline: timelineBox, inspector: inspectorBox, claim: claimBox }[beat.look] ?? lanesBox;
    if (beat.look === "inspector" && !narrow()) tab("inspect");
    for (const box of [lanesBox, timelineBox, inspectorBox, claimBox]) box.classList.toggle("looked-at", box === place);
    clearTimeout(toBeat.timer);
    toBeat.timer = setTimeout(() => place.classList.remove("looked-at"), 2400);
    const seen = place.getBoundingClientRect();
    if (seen.bottom < 80 || seen.top > innerHeight - 120) place.scrollIntoView({ block: "center", behavior: player.reducedMotion ? "auto" : "smooth" });
    say(beat.text);
    return true;
  }

  function find(when = {}) {
    const wanted = Object.entries(when).filter(([k]) => k !== "nth");
    if (!wanted.length) return null;
    let left = when.nth ?? 0;
    const { items, lanes } = player.layout();
    for (const item of items) {
      const event = lanes[item.lane].events[item.n];
      if (wanted.every(([k, v]) => JSON.stringify(event[k]) === JSON.stringify(v)) && left-- <= 0) return event;
    }
    return null;
  }

  // ---- question

  function drawQuestion() {
    const q = exhibit.question;
    if (!q) return;
    const why = el("p", { class: "answer-why", role: "status" });
    const watch = el("button", { type: "button", class: "button quiet", hidden: true, onclick: () => {
      lanesBox.scrollIntoView({ block: "center", behavior: player.reducedMotion ? "auto" : "smooth" });
      player.seek(0);
      player.play();
    } }, words("question.watch"));
    const buttons = q.answers.map((a) => el("button", { type: "button", class: "answer", "aria-pressed": "false", onclick: () => {
      buttons.forEach((b, i) => {
        const mine = q.answers[i] === a;
        b.setAttribute("aria-pressed", String(mine));
        if (mine) b.dataset.answer = a.right ? "right" : "wrong";
        else delete b.dataset.answer;
      });
      set(why, el("b", {}, words(a.right ? "question.right" : "question.wrong")), ` ${a.why}`);
      watch.hidden = false;
    } }, el("span", { class: "answer-mark", "aria-hidden": "true" }), a.text));
    put(questionBox, el("h2", { class: "section-title", id: "question-title" }, words("section.question")),
      el("p", { class: "question-text" }, q.text), el("div", { class: "answers" }, buttons), why, watch);
  }

  // ---- the rest

  const narrow = () => phone.matches;

  /** On a phone the inspector of a chosen word lies over the foot of the page, beside the word and not far below it. */
  function sheet(open) {
    page.toggleAttribute("data-sheet", open);
    if (!open) return;
    inspectorBox.scrollTop = 0;
    const cell = lanesBox.querySelector(':is(.uf-cell, .uf-square)[aria-selected="true"]') ?? document.activeElement.closest(".uf-cell, .uf-square");
    const gap = cell ? cell.getBoundingClientRect().bottom - (inspectorBox.getBoundingClientRect().top - 24) : 0;
    if (gap > 0) scrollBy({ top: gap, behavior: player.reducedMotion ? "auto" : "smooth" });
  }

  function tab(name) {
    page.dataset.tab = name;
    tabs.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.tab === name)));
  }

  function linkState() {
    return { seed: state.seed, settings: panel.values(), lanes: state.lanes, interventions: state.interventions, at: null };
  }

  function remember() {
    keep(linkState(), exhibit);
  }

  function key(event, lecture) {
    const { key: k } = event;
    if ((k === "PageDown" || k === "PageUp") && lecture) return toBeat(state.beat + (k === "PageDown" ? 1 : -1), true);
    line.key(event);
    if (event.defaultPrevented) return true;
    if (k === "r" || k === "R") {
      if (!busy()) run();
    } else if (k === "b" || k === "B") inspect.querySelector(".uf-bars button, button")?.focus();
    else if (k === "Escape") player.select(null);
    else return false;
    return true;
  }

  const off = [
    player.on("force", branch),
    player.on("blanks", (cells) => {
      stages.set({ blanks: [...cells] });
      panel.picked([...cells]);
    }),
    player.on("gap", catchUp),
    player.on("differs", () => {
      state.base = null;
      warn(words("run.differs"));
    }),
    player.on("select", (what) => sheet(Boolean(what) && narrow())),
  ];
  timers.push(setInterval(async () => {
    if (!state.gone && (!waits() || performance.now() - state.heard < SILENT_MS)) return;
    const lives = await transport.alive();
    if (!alive) return;
    if (state.gone !== !lives) disconnected((state.gone = !lives)); // a server that went away may come back
    if (!waits()) return;
    if (!lives) {
      state.broke = true;
      enter("cancelled");
    } else if (!(await catchUp()) && performance.now() - state.heard > LOST_MS) lost();
  }, 2000));

  /** Fetch what did not arrive: a slow page merges frames, a broken line loses them. False if there is nothing new. */
  async function catchUp() {
    const id = state.run;
    const frames = await transport.refetch(id, player.expected);
    if (alive && id === state.run) frames.forEach(receive);
    return frames.length > 0;
  }

  /** The line broke and the server has forgotten this run. */
  function lost() {
    if (!waits()) return;
    state.broke = true;
    enter("cancelled");
    warn(words("run.lost"));
  }

  // Gradio reloads a page whose line broke as soon as the server answers again. What had arrived outlives that.
  function leaveBaton() {
    const broke = state.broke || (waits() && performance.now() - state.heard > HUSH_MS);
    if (broke && player.length) baton.leave({ query: location.search, ...snapshot() });
  }
  addEventListener("pagehide", leaveBaton);

  function takeBaton() {
    const left = baton.take();
    if (left?.query !== location.search) return false;
    state.asked = left.asked;
    player.load({ header: { trace: 1, ...left.header }, events: left.events });
    player.seek(player.length);
    enter("cancelled");
    warn(words("run.lost"));
    return true;
  }

  // what lies over the foot of a phone's page has to be known to what scrolls above it
  const dock = center.querySelector(".dock");
  const tall = new ResizeObserver(() => {
    for (const over of [document.documentElement, inspectorBox]) over.style.setProperty("--dock", `${dock.offsetHeight}px`);
  });
  tall.observe(dock);

  if (asked.refused.length) say(words("link.refused"));
  tab("controls");
  enter("idle");
  drawWhatIf();
  begin();

  return {
    receive,
    key,
    query: () => write({ ...linkState(), at: player.playing || player.cursor.mode === "live" || player.cursor.at >= player.length ? null : player.cursor.at }, exhibit),
    retheme: () => mounts.forEach((m) => m.draw()),
    lecture,
    player,
    destroy() {
      alive = false;
      if (busy()) transport.cancel(state.run);
      claimCards.destroy();
      off.forEach((f) => f());
      timers.forEach(clearInterval);
      removeEventListener("pagehide", leaveBaton);
      phone.removeEventListener("change", placeRun);
      tall.disconnect();
      player.pause();
      mounts.forEach((m) => m.destroy());
      set(element);
    },
  };
}
