// What is asked before something is done: a new container, another name, other limits, a signal, a deletion, a token.
//
// What the API says no with is said in the dialog, which stays. `done` is called with what it says yes with.

import { amount, h } from "./dom.js";
import { call, of, token } from "./api.js";
import { check, complaint, field, filled, group, more, serve } from "./form.js";

let last = 0;

/** A dialog with a form, a button that sends it, and one that does not. */
function dialog(title, children, { yes, danger, large, cancel = true, send }) {
  const id = `dialog-${++last}`;
  const form = h("form", { novalidate: true }, h("div", { class: "form" }, children), complaint(),
    h("div", { class: "buttons" },
      cancel ? h("button", { type: "button", class: "quiet", autofocus: danger, onclick: () => element.close() }, "Cancel") : null,
      h("button", { type: "submit", class: danger ? "danger" : "primary" }, yes)));
  const element = h("dialog", { class: large ? "large" : null, "aria-labelledby": id }, h("h2", { id }, title), form);
  element.addEventListener("close", () => element.remove());
  serve(form, async () => {
    await send(form);
    element.close();
  });
  document.body.append(element);
  element.showModal();
  return element;
}

const limits = (has) => [
  field("memory", "Memory", { placeholder: "512M", hint: "bytes, 64M, 1.5G or max", value: has?.memory }),
  field("cpus", "Cores", { placeholder: "50%", hint: "0.5, 2, 50% or max", value: has?.cpus }),
  field("pids", "Processes", { placeholder: "max", hint: "a number or max", value: has?.pids }),
];

const swap = (has) => field("memory_swap", "Memory and swap", { placeholder: "as memory: no swap", hint: "together; a size or max", value: has?.memory_swap });

/** Makes a container. */
export function create(done) {
  const start = check("start", "Start it", "as soon as it is made", true);
  dialog("New container", [
    field("name", "Name", { maxlength: 63, hint: "letters, digits, _ . -", autofocus: true }),
    field("command", "Command", { placeholder: "/bin/bash", hint: "for the container's shell; empty: the shell itself" }),
    limits(),
    field("network", "Network", { tag: "select", options: ["host", "none"], hint: "none: nothing but a loopback interface" }),
    more(
      group("Program",
        field("args", "Program and arguments", { tag: "textarea", rows: 3, kind: "words", hint: "one a line, instead of the command; run without a shell" }),
        field("env", "Environment", { tag: "textarea", rows: 3, kind: "lines", placeholder: "LANG=C.UTF-8", hint: "NAME=VALUE, one a line" }),
        field("user", "User", { placeholder: "root", hint: "USER or USER:GROUP, by name or number" }),
        field("workdir", "Directory to start in", { placeholder: "/", hint: "absolute; made if it is missing" }),
        field("restart", "Restart", { placeholder: "no", hint: "no, always, on-failure or on-failure:3" }),
        h("div", { class: "ticks" },
          check("init", "Init", "process 1 reaps orphans and passes signals on"),
          check("tty", "Terminal", "it has one of its own"),
          check("interactive", "Interactive", "its input stays open, for minirun attach"))),
      group("Files",
        field("rootfs", "Root filesystem", { placeholder: "built from the host's programs", hint: "a directory of the host, absolute" }),
        field("volume", "Volumes", { tag: "textarea", rows: 3, kind: "lines", placeholder: "/srv/data:/data:ro", hint: "SRC:DST or SRC:DST:ro, one a line" }),
        h("div", { class: "ticks" }, check("read_only", "Read-only", "nothing can be written to the root filesystem"))),
      group("Host name and limits",
        field("hostname", "Host name", { hint: "empty: the container's name" }),
        swap(),
        h("div", { class: "ticks" }, check("strict", "Strict", "fail if a limit or the user ids cannot be set"))),
      group("Log",
        field("log_max_size", "File size", { placeholder: "10M", hint: "at which a new file is begun" }),
        field("log_max_files", "Files", { placeholder: "2", kind: "number", inputmode: "numeric", hint: "at most, 1 to 100" }))),
    start,
  ], {
    yes: "Create", large: true,
    send: async (form) => {
      const { start, ...body } = filled(form);
      try {
        const { data, message } = await call("POST", "/containers", body);
        done(data.name, message, start);
      } catch (failure) {
        // The name is taken.
        if (failure.status === 409) failure.field ??= "name";
        throw failure;
      }
    },
  });
}

/** Gives it another name. */
export function rename(name, done) {
  dialog(`Rename ${name}`, [field("new_name", "New name", { maxlength: 63, value: name, hint: "letters, digits, _ . -", autofocus: true })], {
    yes: "Rename",
    send: async (form) => {
      try {
        const { data, message } = await call("POST", of(name, "/rename"), { new_name: form.elements.new_name.value.trim() });
        done(message, data.name);
      } catch (failure) {
        if (failure.status === 409) failure.field ??= "new_name";
        throw failure;
      }
    },
  });
}

/** Gives it other limits. Only those that are changed are sent: the others stay as they are. */
export function relimit(record, done) {
  const { memory, memory_swap: both, cpus, pids } = record.config?.limits ?? {};
  const has = {
    memory: amount(memory),
    memory_swap: both === undefined ? "" : amount(both),
    cpus: cpus === null ? "max" : `${cpus}`,
    pids: pids === null ? "max" : `${pids}`,
  };
  const runs = ["running", "paused"].includes(record.status);
  dialog(`Limits of ${record.name}`, [
    h("p", { class: "wide" }, runs ? "They hold at once." : "They hold from the next start on."), limits(has), swap(has),
  ], {
    yes: "Change",
    send: async (form) => {
      const wanted = Object.entries(filled(form)).filter(([name, text]) => text !== has[name]);
      const { message } = await call("PATCH", of(record.name), Object.fromEntries(wanted));
      done(message);
    },
  });
}

const SIGNALS = ["KILL", "TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT"];

/** Sends a signal to its process 1. */
export function kill(name, done) {
  dialog(`Send a signal to ${name}?`, [
    field("signal", "Signal", { tag: "select", options: SIGNALS, hint: "KILL ends it at once: what it has not saved is lost. Another one does what its process 1 makes of it." }),
  ], {
    yes: "Send", danger: true,
    send: async (form) => done((await call("POST", of(name, "/kill"), filled(form))).message),
  });
}

/** Deletes a container. */
export function remove(record, done) {
  const runs = ["running", "paused"].includes(record.status) || record.run?.restarting;
  dialog(`Delete ${record.name}?`, [
    h("p", { class: "wide" }, runs ? "It runs: it will be killed first. " : "", "Its record and its log go. Its root filesystem stays."),
  ], {
    yes: runs ? "Kill and delete" : "Delete", danger: true,
    send: async () => done((await call("DELETE", of(record.name, runs ? "?force=true" : ""))).message),
  });
}

/** Deletes all containers that do not run. */
export async function prune(done) {
  const pages = await Promise.all(["created", "stopped", "failed"].map((state) => call("GET", `/containers?limit=1000&status=${state}`)));
  const names = pages.flatMap(({ data }) => data).filter((record) => !record.run?.restarting).map((record) => record.name).sort();
  const rest = pages.some(({ next }) => next) ? " and more" : names.length > 20 ? ` and ${names.length - 20} more` : "";
  dialog("Delete all that do not run?", [
    h("p", { class: "wide" }, `Now these are: ${names.slice(0, 20).join(", ") || "none"}${rest}.`),
    h("p", { class: "wide" }, "Their records and their logs go. Their root filesystems stay."),
  ], {
    yes: "Delete all", danger: true,
    send: async () => done((await call("POST", "/prune", {})).message),
  });
}

/** Asks who it is. Begins anew with what he says. */
export function sign(refused) {
  const element = dialog("Who are you?", [
    field("token", "Token", { type: "password", autofocus: true, hint: "minirun-api token create NAME makes one. It is kept until this tab is closed." }),
  ], {
    yes: "Sign in", cancel: false,
    send: async (form) => {
      // What was copied may have brought a line end with it.
      token.set(form.elements.token.value.trim());
      location.reload();
    },
  });
  if (refused) element.querySelector(".complaint").textContent = "The server does not know this token, or it has expired.";
  return element;
}
