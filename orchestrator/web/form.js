// Forms: fields with their labels, hints and errors; what is filled in, as the API wants it; and what it says no with,
// where it belongs.

import { Failure } from "./api.js";
import { h } from "./dom.js";

let last = 0;

/**
 * A field with its label, its hint and its error. `kind` says what is sent: `lines` a list without empty lines, `words`
 * a list with them, `number` a number; else the text.
 */
export function field(name, label, { hint, tag = "input", kind, options, ...rest } = {}) {
  const id = `field-${++last}`;
  const about = hint ? `${id}-hint ${id}-error` : `${id}-error`;
  const spelling = tag === "select" ? null : "false";
  const input = h(tag, { id, name, autocomplete: "off", autocapitalize: "off", spellcheck: spelling, "data-kind": kind, ...rest, "aria-describedby": about },
    (options ?? []).map((option) => h("option", {}, option)));
  return h("div", { class: `field ${tag}`, "data-field": name },
    h("label", { for: id }, label), input,
    hint ? h("small", { id: `${id}-hint` }, hint) : null,
    h("small", { id: `${id}-error`, class: "error" }));
}

/** Something that is so or not. */
export function check(name, label, hint, checked) {
  const id = `field-${++last}`;
  const input = h("input", { type: "checkbox", id, name, checked, "aria-describedby": `${id}-hint ${id}-error` });
  return h("div", { class: "field tick", "data-field": name },
    h("label", { class: "check", for: id }, input, label),
    h("small", { id: `${id}-hint` }, hint),
    h("small", { id: `${id}-error`, class: "error" }));
}

/** Fields that are folded away until somebody wants them. */
export const more = (...fields) => h("details", { class: "more" }, h("summary", {}, "More options"), h("div", { class: "form" }, fields));

/** Fields that belong together. */
export const group = (title, ...fields) => h("fieldset", { class: "group" }, h("legend", {}, title), h("div", { class: "form" }, fields));

function value(input) {
  const lines = input.value.split("\n");
  switch (input.dataset.kind) {
    case "lines": return lines.filter((line) => line.trim());
    case "words": return lines.at(-1) === "" ? lines.slice(0, -1) : lines;
    case "number":
      if (!/^\s*\d+\s*$/.test(input.value)) throw new Failure(400, { error: `${JSON.stringify(input.value)} is no number`, field: input.name });
      return Number(input.value);
    case "text": return input.value;
    default: return input.value.trim();
  }
}

/** What is filled in; what is not is left to the API. */
export function filled(form) {
  const body = {};
  for (const input of form.querySelectorAll("[name]")) {
    if (input.type === "checkbox") { if (input.checked) body[input.name] = true; continue; }
    const untouched = input.tagName === "SELECT" ? input.selectedIndex === 0 : input.value.trim() === "";
    if (!untouched) body[input.name] = value(input);
  }
  return body;
}

/** Says in the form what is wrong, at the field that is meant, and goes there. */
function complain(form, failure) {
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const place of form.querySelectorAll(".error, .complaint")) place.textContent = "";
  if (!failure) return;
  const name = failure.field?.split(/[.[]/)[0];
  const place = name && form.querySelector(`[data-field="${CSS.escape(name)}"]`);
  if (!place) {
    form.querySelector(".complaint").textContent = failure.whole;
    return;
  }
  const folded = place.closest("details");
  if (folded) folded.open = true;
  place.querySelector(".error").textContent = failure.whole;
  const input = place.querySelector("input, select, textarea");
  input.setAttribute("aria-invalid", "true");
  input.focus();
}

/** Has a form sent by `send`, once at a time; what it throws is said in the form. */
export function serve(form, send) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") return;
    form.ariaBusy = "true";
    complain(form, null);
    try {
      await send();
    } catch (failure) {
      complain(form, failure);
    } finally {
      form.ariaBusy = null;
    }
  });
}

/** What is said of a form as a whole. */
export const complaint = (text) => h("p", { class: "complaint", role: "alert" }, text ?? "");
