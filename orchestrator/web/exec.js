// Another program in the container, once: what it wrote, and how it ended.

import { h, plain } from "./dom.js";
import { call, Failure, of } from "./api.js";
import { complaint, field, filled, more, serve } from "./form.js";

/** So many runs stay in the page, and so much of what each wrote. */
const MOST = 20;
const LONGEST = 100_000;

export class Exec {
  #giveUp = null;

  constructor(name) {
    this.name = name;
    this.state = h("span", { class: "note", role: "status" });
    this.stop = h("button", { type: "button", hidden: true, onclick: () => this.end() }, "Kill it");
    this.form = h("form", { class: "form", novalidate: true, "aria-labelledby": "exec-title" },
      h("div", { class: "one-line" },
        field("command", "Command", { placeholder: "ps", hint: "for a shell in the container" }),
        h("button", { type: "submit", class: "primary" }, "Run"), this.stop),
      more(
        field("args", "Program and arguments", { tag: "textarea", rows: 3, kind: "words", hint: "one a line, instead of the command; run without a shell" }),
        field("env", "Environment", { tag: "textarea", rows: 3, kind: "lines", hint: "NAME=VALUE, one a line, besides the container's own" }),
        field("input", "Input", { tag: "textarea", rows: 3, kind: "text", hint: "what it reads from its standard input" }),
        field("user", "User", { hint: "USER or USER:GROUP; empty: the container's" }),
        field("workdir", "Directory to start in", { hint: "absolute; empty: the container's" }),
        field("timeout", "Seconds", { placeholder: "60", kind: "number", inputmode: "numeric", hint: "until it is killed" })),
      complaint());
    this.ran = h("div", { class: "ran" });
    this.element = h("section", { class: "panel", "aria-labelledby": "exec-title", hidden: true },
      h("div", { class: "panel-head" }, h("h2", { id: "exec-title" }, "Run a program in it"), this.state), this.form, this.ran);
    serve(this.form, () => this.#run());
  }

  /** It can be used while the container runs; what was written stays to be read. */
  allow(running) {
    this.form.hidden = !running;
    this.element.hidden = !running && this.ran.childElementCount === 0;
  }

  /** Whoever waits no more has it killed. */
  end() { this.#giveUp?.abort(); }

  async #run() {
    const { command, ...body } = filled(this.form);
    if (command !== undefined && body.args) throw new Failure(400, { error: "this and the command contradict each other", field: "args" });
    const what = body.args?.join(" ") ?? command;
    body.args ??= command === undefined ? [] : ["sh", "-c", command];
    this.#giveUp = new AbortController();
    this.stop.hidden = false;
    this.state.textContent = "it runs…";
    try {
      const { data, message } = await call("POST", of(this.name, "/exec"), body, this.#giveUp.signal);
      this.state.textContent = message;
      this.#show(what, data, message);
    } catch (failure) {
      this.state.textContent = this.#giveUp.signal.aborted ? "it was killed" : "";
      if (this.#giveUp.signal.aborted) return;
      // Where there are no arguments there is no command either.
      if (failure.field === "args" && !this.form.elements.args.value) failure.field = "command";
      throw failure;
    } finally {
      this.stop.hidden = true;
    }
  }

  #show(what, { exit_code: code, stdout, stderr, truncated }, message) {
    const output = (text, stream) => {
      if (text === "") return null;
      const rest = text.length > LONGEST ? `\n… and ${text.length - LONGEST} characters more` : "";
      return h("pre", { class: `log ${stream}`, tabindex: 0, role: "group", "aria-label": `${stream} of ${what}` }, plain(text.slice(0, LONGEST)) + rest);
    };
    const nothing = stdout === "" && stderr === "" ? h("p", { class: "note" }, "It wrote nothing.") : null;
    this.ran.prepend(h("div", { class: "run" },
      h("p", { class: "panel-head" }, h("code", {}, plain(what)), h("span", { class: code === 0 ? "badge" : "badge failed" }, code === null ? message : `exit code ${code}`)),
      output(stdout, "stdout"), output(stderr, "stderr"), nothing,
      truncated ? h("p", { class: "note" }, "There was more: a megabyte of each is sent.") : null));
    while (this.ran.childElementCount > MOST) this.ran.lastElementChild.remove();
  }
}
