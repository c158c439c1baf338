// What is asked before something is done: a new container, a deletion, a token.

import { h } from "./dom.js";
import { call, of, token } from "./api.js";

let last = 0;

/** A field with its label, its hint and its error. */
function field(name, label, { hint, tag = "input", options, ...rest } = {}) {
  const id = `field-${++last}`;
  const input = h(tag, { id, name, autocomplete: "off", spellcheck: tag === "select" ? null : "false", ...rest, "aria-describedby": `${id}-hint ${id}-error` },
    (options ?? []).map((option) => h("option", {}, option)));
  return h("div", { class: `field ${name}`, "data-field": name },
    h("label", { for: id }, label), input,
    hint ? h("small", { id: `${id}-hint` }, hint) : null,
    h("small", { id: `${id}-error`, class: "error" }));
}

const check = (name, label, hint, checked) =>
  h("div", { class: "field wide", "data-field": name }, h("label", { class: "check" }, h("input", { type: "checkbox", name, checked }), label, h("small", {}, hint)), h("small", { class: "error" }));

function dialog(title, ...children) {
  const id = `dialog-${++last}`;
  const element = h("dialog", { "aria-labelledby": id }, h("h2", { id }, title), ...children);
  element.addEventListener("close", () => element.remove());
  document.body.append(element);
  element.showModal();
  return element;
}

/** Says in the form what the server does not like about it, and goes there. */
function complain(form, failure) {
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const text of form.querySelectorAll(".error")) text.textContent = "";
  if (!failure) return;
  const text = failure.hint ? `${failure.message}: ${failure.hint}` : failure.message;
  const name = failure.field?.split(/[.[]/)[0];
  const place = name && form.querySelector(`[data-field="${CSS.escape(name)}"]`);
  const input = place?.querySelector("input, select, textarea");
  if (!input) {
    form.querySelector(".complaint").textContent = text;
    return;
  }
  const hidden = place.closest("details");
  if (hidden) hidden.open = true;
  place.querySelector(".error").textContent = text;
  input.setAttribute("aria-invalid", "true");
  input.focus();
}

const LISTS = ["env", "volume"];
const NUMBERS = ["log_max_files"];

/** What is filled in, as the API wants it; what is not is left to it. */
function wanted(form) {
  const body = {};
  for (const input of form.querySelectorAll("[name]")) {
    if (input.name === "start") continue;
    if (input.type === "checkbox") { if (input.checked) body[input.name] = true; continue; }
    const text = input.value;
    if (text.trim() === "" || (input.tagName === "SELECT" && input.selectedIndex === 0)) continue;
    if (LISTS.includes(input.name)) body[input.name] = text.split("\n").map((line) => line.trim()).filter(Boolean);
    else if (NUMBERS.includes(input.name)) body[input.name] = Number(text);
    else body[input.name] = text.trim();
  }
  return body;
}

/** Makes a container. `made` is called with its name. */
export function create(made) {
  const send = h("button", { type: "submit", class: "primary" }, "Create");
  const form = h("form", { method: "dialog", class: "form" },
    field("name", "Name", { required: true, maxlength: 63, hint: "letters, digits, _ . -", autofocus: true }),
    field("command", "Command", { hint: "for the container's shell; empty: the shell itself" }),
    field("memory", "Memory", { placeholder: "512M", hint: "bytes, 64M, 1G or max" }),
    field("cpus", "Cores", { placeholder: "50%", hint: "50%, 200% or max" }),
    field("pids", "Processes", { placeholder: "max", hint: "a number or max" }),
    field("network", "Network", { tag: "select", options: ["host", "none"], hint: "none: nothing but a loopback interface" }),
    h("details", { class: "wide" }, h("summary", {}, "More options"), h("div", { class: "form" },
      field("rootfs", "Root filesystem", { placeholder: "built from the host's programs", hint: "a directory of the host, absolute" }),
      field("hostname", "Host name", { hint: "empty: the name" }),
      field("workdir", "Directory to start in", { placeholder: "/" }),
      field("user", "User", { placeholder: "root", hint: "USER or USER:GROUP" }),
      field("memory_swap", "Memory and swap", { hint: "together; empty: no swap" }),
      field("restart", "Restart", { tag: "select", options: ["no", "always", "on-failure", "on-failure:3"] }),
      field("log_max_size", "Log file size", { placeholder: "10M" }),
      field("log_max_files", "Log files", { placeholder: "2", type: "number", min: 1, max: 100 }),
      field("env", "Environment", { tag: "textarea", rows: 3, hint: "NAME=VALUE, one a line" }),
      field("volume", "Volumes", { tag: "textarea", rows: 3, hint: "SRC:DST or SRC:DST:ro, one a line" }),
      check("read_only", "Read-only", "nothing can be written to the root filesystem"),
      check("init", "Init", "process 1 reaps orphans and passes signals on"),
      check("tty", "Terminal", "it has one of its own"),
      check("interactive", "Interactive", "its input stays open, for minirun attach"),
      check("strict", "Strict", "fail if a limit or the user ids cannot be set"))),
    check("start", "Start it", "as soon as it is made", true),
    h("p", { class: "complaint wide", role: "alert" }),
    h("div", { class: "buttons wide" }, h("button", { type: "button", class: "quiet", onclick: () => element.close() }, "Cancel"), send));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    complain(form, null);
    form.querySelector(".complaint").textContent = "";
    try {
      const { data, message } = await call("POST", "/containers", wanted(form));
      element.close();
      made(data.name, message, form.elements.start.checked);
    } catch (failure) {
      complain(form, failure);
    } finally {
      send.disabled = false;
    }
  });
  const element = dialog("New container", form);
}

/** Asks whether a container is to be deleted. `yes` is called with the path that does it. */
export function remove(record, yes) {
  const runs = ["running", "paused"].includes(record.status) || record.run?.restarting;
  const element = dialog(`Delete ${record.name}?`,
    h("p", {}, runs ? "It runs: it will be killed first. " : "", "Its record and its log go. Its root filesystem stays."),
    h("div", { class: "buttons" },
      h("button", { type: "button", class: "quiet", autofocus: true, onclick: () => element.close() }, "Cancel"),
      h("button", { type: "button", class: "danger", onclick: () => { element.close(); yes(of(record.name, runs ? "?force=true" : "")); } }, runs ? "Kill and delete" : "Delete")));
}

/** Asks who it is. Begins anew with what he says. */
export function sign(refused) {
  const form = h("form", { method: "dialog", class: "form" },
    field("token", "Token", { type: "password", required: true, autofocus: true, hint: "minirun-api token create NAME makes one. It is kept until this tab is closed." }),
    h("p", { class: "complaint wide", role: "alert" }, refused ? "The server does not know this token, or it has expired." : ""),
    h("div", { class: "buttons wide" }, h("button", { type: "submit", class: "primary" }, "Sign in")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    // What was copied may have brought a line end with it.
    token.set(form.elements.token.value.trim());
    location.reload();
  });
  return dialog("Who are you?", form);
}
