// The link of a page: exhibit, seed, its settings by name, lanes, interventions, playhead, theme.
// Reading never throws. What is unknown or out of range falls back to the default and is listed, so that the page can say so.

const RESERVED = ["exhibit", "seed", "lanes", "i", "at", "theme", "lecture", "v", "view", "embed", "lang", "rows"];
const MAX_SEED = Number.MAX_SAFE_INTEGER;

/** {exhibit, seed, settings, lanes, interventions, at, theme, lecture, refused: [{field, value, message}]} */
export function read(search, data, words) {
  const query = new URLSearchParams(search);
  const refused = [];
  const refuse = (field, value, message) => refused.push({ field: clip(field), value: clip(value), message });
  const out = { exhibit: null, seed: null, settings: {}, lanes: null, interventions: [], at: null, theme: null, lecture: false, refused };
  const exhibit = data.exhibits.find((e) => e.slug === query.get("exhibit"));
  if (query.has("exhibit") && !exhibit) refuse("exhibit", query.get("exhibit"), words("link.exhibit"));
  out.exhibit = exhibit?.slug ?? null;
  out.lecture = query.get("lecture") === "1";
  if (query.has("theme")) {
    if (["light", "dark"].includes(query.get("theme"))) out.theme = query.get("theme");
    else refuse("theme", query.get("theme"), words("link.theme"));
  }
  if (!exhibit) return out;
  const known = new Map(exhibit.settings.map((s) => [s.name, s]));
  const seen = new Set();
  for (const [name, value] of query) {
    // hosts add names of their own
    if (seen.has(name) || name.startsWith("__") || name.startsWith("utm_")) continue;
    seen.add(name);
    if (known.has(name)) {
      const result = check(known.get(name), value, words);
      if (result.ok) out.settings[name] = result.value;
      else refuse(name, value, result.message);
    } else if (!RESERVED.includes(name)) refuse(name, value, words("link.unknown"));
  }
  if (query.has("seed")) {
    const seed = whole(query.get("seed"), 0, MAX_SEED);
    if (seed === null) refuse("seed", query.get("seed"), words("link.seed"));
    else out.seed = seed;
  }
  if (query.has("at")) {
    out.at = whole(query.get("at"), 0, 1e6);
    if (out.at === null) refuse("at", query.get("at"), words("link.at"));
  }
  if (query.has("lanes")) {
    const asked = query.get("lanes").split(",").filter(Boolean);
    const good = asked.filter((id) => exhibit.lanes.some((lane) => lane.id === id));
    if (good.length < asked.length || !asked.length) refuse("lanes", query.get("lanes"), words("link.lanes", { lanes: exhibit.lanes.map((l) => l.id).join(", ") }));
    if (good.length) out.lanes = [...new Set(good)];
  }
  if (query.has("i")) {
    for (const part of query.get("i").split(";").filter(Boolean).slice(0, 64)) {
      const change = readChange(part, exhibit);
      if (change) out.interventions.push(change);
      else refuse("i", part, words("link.change"));
    }
  }
  return out;
}

/** The query of a state; what is as in the exhibit's recorded run is left out. */
export function write(state, exhibit) {
  const query = new URLSearchParams();
  if (exhibit) {
    query.set("exhibit", exhibit.slug);
    if (state.seed !== null && state.seed !== exhibit.seed) query.set("seed", state.seed);
    for (const s of exhibit.settings) {
      const value = state.settings[s.name];
      const usual = exhibit.recorded?.[s.name] ?? s.default;
      if (value !== undefined && String(value) !== String(usual)) query.set(s.name, value);
    }
    const usual = exhibit.lanes.filter((l) => l.default).map((l) => l.id);
    if (state.lanes && state.lanes.join() !== usual.join()) query.set("lanes", state.lanes.join(","));
    if (state.interventions?.length) query.set("i", state.interventions.map(writeChange).join(";"));
    if (state.at != null) query.set("at", state.at);
  }
  if (state.theme) query.set("theme", state.theme);
  if (state.lecture) query.set("lecture", "1");
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3B", ";");
  return text ? `?${text}` : "";
}

/** Whether a value fits a setting: {ok, value} or {ok: false, message}. The engine has the last word. */
export function check(setting, raw, words) {
  const text = String(raw);
  if (setting.kind === "int" || setting.kind === "float") {
    const number = text.trim() === "" ? NaN : Number(text);
    const good = Number.isFinite(number) && number >= setting.min && number <= setting.max && (setting.kind === "float" || Number.isInteger(number));
    return good ? { ok: true, value: number } : { ok: false, message: words("link.range", { min: setting.min, max: setting.max }) };
  }
  if (setting.kind === "bool") {
    if (["true", "1"].includes(text)) return { ok: true, value: true };
    if (["false", "0"].includes(text)) return { ok: true, value: false };
    return { ok: false, message: words("link.bool") };
  }
  if (setting.kind === "choice") {
    const choice = setting.choices.find((c) => String(c.value) === text);
    return choice ? { ok: true, value: choice.value } : { ok: false, message: words("link.choice", { choices: setting.choices.map((c) => c.value).join(", ") }) };
  }
  const max = setting.kind === "cells" ? 400 : (setting.max ?? 600);
  if (text.length > max) return { ok: false, message: words("link.long", { max }) };
  if (setting.kind === "cells" && !/^[\d,\s-]*$/.test(text)) return { ok: false, message: words("link.cells") };
  return { ok: true, value: text };
}

// force: f.lane.cell.value.after   reseed: r.lane.seed.after   with _0 for _, _1 for a dot and _2 for a semicolon
const ESCAPES = ["_", ".", ";"];
const escape = (part) => String(part).replace(/[_.;]/g, (c) => `_${ESCAPES.indexOf(c)}`);
const unescape = (part) => part.replace(/_([012])/g, (_, i) => ESCAPES[i]);

function writeChange(c) {
  const parts = c.do === "force" ? ["f", c.lane, c.cell, c.value, c.after ?? ""] : ["r", c.lane, c.seed, c.after ?? ""];
  return parts.map(escape).join(".");
}

function readChange(text, exhibit) {
  const parts = text.split(".").map(unescape);
  const force = parts[0] === "f" && parts.length === 5;
  if (!force && !(parts[0] === "r" && parts.length === 4)) return null;
  const lane = parts[1];
  if (lane !== "*" && !exhibit.lanes.some((l) => l.id === lane)) return null;
  const number = whole(parts[2], 0, MAX_SEED);
  const last = parts[parts.length - 1];
  const after = last === "" ? undefined : whole(last, 0, 1e6);
  if (number === null || after === null || (force && (!parts[3] || parts[3].length > 60))) return null;
  // a word, or the number of a picture's pattern
  const change = force ? { do: "force", lane, cell: number, value: /^\d{1,6}$/.test(parts[3]) ? Number(parts[3]) : parts[3] } : { do: "reseed", lane, seed: number };
  return after === undefined ? change : { ...change, after };
}

function whole(text, min, max) {
  if (!/^\d{1,16}$/.test(text)) return null;
  const number = Number(text);
  return number >= min && number <= max ? number : null;
}

function clip(text) {
  const plain = String(text ?? "").replace(/[\p{C}]/gu, "\uFFFD");
  return plain.length > 40 ? `${plain.slice(0, 40)}…` : plain;
}
