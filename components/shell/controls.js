// Controls drawn from the typed settings of an exhibit: native inputs, so keyboard and screen reader come free.

import { el, put, set } from "./dom.js";
import * as pictures from "./picture_controls.js";
import { sequence } from "./word_order.js";
import { check } from "./url.js";

/** mount(element, {settings, values, words, onchange, onpick}) -> {values, mark, picked, unpick, told, clear, set} */
export function mount(element, { settings, values, words, onchange, onpick, prefix = "s" }) {
  const state = {};
  const rows = new Map();
  const usual = settings.filter((s) => !s.advanced);
  const rare = settings.filter((s) => s.advanced);

  function change(setting, value) {
    const row = rows.get(setting.name);
    const result = check(setting, value, words);
    row.error.hidden = result.ok;
    if (!result.ok) {
      row.error.textContent = result.message;
      row.invalid(true);
      return;
    }
    row.invalid(false);
    state[setting.name] = result.value;
    row.show(result.value);
    onchange?.(setting.name, result.value);
  }

  // Cells are easier to point at than to type: while picking, clicks on the page choose them.
  let picking = null;
  function pick(name) {
    picking = picking === name ? null : name;
    for (const [other, row] of rows) if (row.pick) row.pick(other === picking);
    onpick?.(name, picking !== null);
  }

  function draw(setting) {
    const id = `${prefix}-${setting.name}`;
    const value = values[setting.name] ?? setting.default;
    state[setting.name] = value;
    const control = CONTROLS[kindOf(setting)](setting, id, value, (v) => change(setting, v), words, () => pick(setting.name));
    const error = el("p", { class: "control-error", id: `${id}-error`, role: "alert", hidden: true });
    const help = setting.help && el("p", { class: "control-help", id: `${id}-help` }, setting.help);
    const group = el("div", { class: `control control-${kindOf(setting)}`, "data-setting": setting.name }, control.nodes, help, error);
    const picker = onpick && setting.kind === "cells" && el("button", { type: "button", class: "button plain pick", "aria-pressed": "false", onclick: () => pick(setting.name) }, words("control.pick"));
    if (picker) {
      const label = group.querySelector("label");
      group.prepend(el("div", { class: "control-head" }, label, picker));
      const input = group.querySelector("input");
      const reveal = (yes) => { input.hidden = !yes && !input.value; };
      reveal(false);
      group.reveal = reveal;
    }
    const inputs = [...group.querySelectorAll("input, select, textarea")];
    inputs.forEach((i) => i.setAttribute("aria-describedby", [help && `${id}-help`, `${id}-error`].filter(Boolean).join(" ")));
    rows.set(setting.name, {
      error, show: control.show, reset: control.reset, told: control.told, field: control.input, pick: control.pick ?? (picker && ((on) => { picker.setAttribute("aria-pressed", String(on)); picker.textContent = words(on ? "control.picked" : "control.pick"); group.reveal(on); })), input: inputs[0], group,
      invalid: (yes) => {
        group.classList.toggle("refused", yes);
        inputs.forEach((i) => (yes ? i.setAttribute("aria-invalid", "true") : i.removeAttribute("aria-invalid")));
      },
    });
    return group;
  }

  set(element, usual.map(draw));
  const folded = rare.length && el("details", { class: "advanced" }, el("summary", {}, words("control.advanced")), rare.map(draw));
  if (folded) put(element, folded);

  return {
    values: () => ({ ...state }),
    /** Show at a control why its value was refused; false if there is no such control. */
    mark(field, message) {
      const row = rows.get(field);
      if (!row) return false;
      row.error.textContent = message;
      row.error.hidden = false;
      row.invalid(true);
      if (folded && folded.contains(row.group)) folded.open = true;
      (row.field?.() ?? row.group.querySelector("textarea:not([hidden]), input:checked") ?? row.input)?.focus();
      row.error.scrollIntoView({ block: "nearest" });
      return true;
    },
    /** Cells chosen on the page, in the order in which they were; only a setting of orders keeps that. */
    picked(cells) {
      const setting = settings.find((s) => s.name === picking);
      if (!setting) return;
      if (setting.kind === "sequence") change(setting, cells.join(",") || setting.default);
      else change(setting, cells.sort((a, b) => a - b).join(","));
    },
    unpick() {
      if (picking) pick(picking);
    },
    /** What the seed chose where a caption was left open. */
    told(caption) {
      for (const row of rows.values()) row.told?.(caption);
    },
    clear() {
      for (const row of rows.values()) {
        row.error.hidden = true;
        row.invalid(false);
      }
    },
    set(next) {
      for (const s of settings) if (s.name in next) {
        state[s.name] = next[s.name];
        const row = rows.get(s.name);
        (row.reset ?? row.show)(next[s.name]);
        row.group.reveal?.(false);
      }
    },
  };
}

function kindOf(setting) {
  if (setting.kind === "choice") {
    const letters = setting.choices.reduce((n, c) => n + String(c.label).length, 0);
    return setting.choices.length <= 4 && letters <= 36 ? "segments" : "select";
  }
  if (setting.kind === "int" || setting.kind === "float") return "slider";
  if (setting.kind === "bool") return "switch";
  return ["words", "objects", "order", "sequence"].includes(setting.kind) ? setting.kind : "text";
}

const CONTROLS = {
  objects: pictures.objects,
  order: pictures.order,
  sequence,

  segments(setting, id, value, change) {
    const radios = setting.choices.map((c, i) => el("input", {
      type: "radio", name: id, id: `${id}-${i}`, value: c.value, checked: c.value === value, onchange: () => change(c.value),
    }));
    const set_ = el("fieldset", { class: "segments" }, el("legend", {}, setting.label),
      el("div", { class: "segments-row" }, setting.choices.map((c, i) => [radios[i], el("label", { for: `${id}-${i}` }, c.label)])));
    return { nodes: [set_], show: (v) => radios.forEach((r) => { r.checked = r.value === String(v); }) };
  },

  select(setting, id, value, change) {
    const options = setting.choices.map((c) => el("option", { value: c.value }, c.label));
    const select = el("select", { id, onchange: () => change(select.value) }, options);
    select.value = value;
    return { nodes: [el("label", { for: id }, setting.label), select], show: (v) => { select.value = v; } };
  },

  slider(setting, id, value, change) {
    const said = el("output", { for: id, class: "control-value" });
    const digits = setting.kind === "int" ? 0 : Math.min(4, (String(setting.step).split(".")[1] ?? "").length);
    const span = setting.max - setting.min || 1;
    const input = el("input", {
      type: "range", id, min: setting.min, max: setting.max, step: setting.step ?? "any", oninput: () => show(Number(input.value)), onchange: () => change(input.value),
    });
    function show(v) {
      input.value = v;
      const text = Number(v).toFixed(Math.max(digits, setting.kind === "float" ? 1 : 0));
      said.textContent = setting.unit ? `${text} ${setting.unit}` : text;
      input.style.setProperty("--part", `${((v - setting.min) / span) * 100}%`);
      input.setAttribute("aria-valuetext", said.textContent);
    }
    show(value);
    return { nodes: [el("div", { class: "control-head" }, el("label", { for: id }, setting.label), said), input], show };
  },

  switch(setting, id, value, change) {
    const input = el("input", { type: "checkbox", role: "switch", id, checked: value, onchange: () => change(input.checked) });
    return { nodes: [el("div", { class: "control-head" }, el("label", { for: id }, setting.label), input)], show: (v) => { input.checked = v; } };
  },

  // The seed's text, or one's own: the field for it is shown when it is wanted.
  words(setting, id, value, change, words) {
    const input = el("textarea", { id, rows: 4, maxlength: setting.max ?? 600, spellcheck: "false", "aria-label": setting.label, placeholder: words("control.words"), onchange: () => change(input.value) });
    const pick = (own) => el("input", { type: "radio", name: `${id}-whose`, id: `${id}-${own ? "own" : "seed"}`, value: own ? "own" : "seed", onchange: () => {
      input.hidden = !own;
      if (own) input.focus();
      change(own ? input.value : "");
    } });
    const [seed, own] = [pick(false), pick(true)];
    const box = el("fieldset", { class: "segments" }, el("legend", {}, setting.label),
      el("div", { class: "segments-row" }, seed, el("label", { for: seed.id }, words("control.seed-text")), own, el("label", { for: own.id }, words("control.own-text"))), input);
    function show(v) {
      if (v) input.value = v;
      own.checked = Boolean(v) || (own.checked && document.activeElement === input);
      seed.checked = !own.checked;
      input.hidden = seed.checked;
    }
    input.value = value;
    show(value);
    return { nodes: [box], show: (v) => (v ? show(v) : null), reset: show };
  },

  text(setting, id, value, change, words) {
    const input = el("input", {
      type: "text", id, autocomplete: "off", spellcheck: "false", value, maxlength: setting.kind === "cells" ? 400 : setting.max,
      placeholder: setting.kind === "cells" ? words("control.cells") : "", onchange: () => change(input.value),
    });
    return { nodes: [el("label", { for: id }, setting.label), input], show: (v) => { input.value = v; } };
  },
};
