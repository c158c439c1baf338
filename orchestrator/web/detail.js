// One container: what it is, what it does, what it uses, what it wrote.

import { arrange, badge, bytes, duration, h, percent, plain, say, when } from "./dom.js";
import { call, of } from "./api.js";
import { Curve } from "./curve.js";
import { kill, relimit, remove, rename } from "./dialogs.js";
import { Exec } from "./exec.js";
import { Log } from "./log.js";
import { shares } from "./namespaces.js";

/** What is done at once: what it is called, in which states it makes sense, what is sent. */
const ACTIONS = [
  ["Start", "start", ["created", "stopped", "failed"]],
  ["Stop", "stop", ["running", "paused", "restarting"]],
  ["Restart", "restart", ["running", "paused"]],
  ["Pause", "pause", ["running"]],
  ["Resume", "resume", ["paused"]],
];

/** What takes what back. */
const BACK = { start: "stop", stop: "start", pause: "resume", resume: "pause" };

export class Detail {
  #processes = new Map();
  #began = undefined;

  /** `act` does something to it at once, `done` says what a dialog did, and where to go then. */
  constructor(name, act, done) {
    this.name = name;
    this.title = h("h1", { tabindex: -1 }, name);
    this.state = h("span", { class: "badge" }, "…");
    this.buttons = ACTIONS.map(([label, verb, states]) => {
      const button = h("button", { type: "button", "data-verb": verb, onclick: () => this.#act(button, act, verb) }, label);
      return { button, states };
    });
    // What is asked first: with dots.
    const asks = (label, verb, ask, kind) => h("button", { type: "button", "data-verb": verb, class: kind, onclick: ask }, `${label}…`);
    this.buttons.push({ button: asks("Kill", "kill", () => kill(name, done)), states: ["running", "paused"] });
    this.always = [
      asks("Limits", "limits", () => relimit(this.record, done)),
      asks("Rename", "rename", () => rename(name, (message, now) => done(message, `#/containers/${encodeURIComponent(now)}`))),
      asks("Delete", "delete", () => remove(this.record, (message) => done(message, "#/")), "danger"),
    ];
    this.warnings = h("div", { class: "warnings" });
    this.facts = h("dl", { class: "facts" });
    this.cpu = new Curve({ name: "CPU", kind: "cpu", format: percent, least: 10, base: 10 });
    this.memory = new Curve({ name: "Memory", kind: "memory", format: bytes, least: 1 << 20, base: 2 });
    this.curves = h("div", { class: "curves", hidden: true }, this.cpu.element, this.memory.element);
    this.numbers = h("p", { class: "note" });
    this.rows = h("tbody");
    this.none = h("p", { class: "note", role: "status" });
    this.table = h("div", { class: "scroll", tabindex: 0, role: "group", "aria-labelledby": "processes-title" },
      h("table", { class: "processes" },
        h("thead", {}, h("tr", {}, ["Inside", "Outside", "User", "State", "Threads", "CPU time", "Memory", "Command"].map((text) => h("th", { scope: "col" }, text)))),
        this.rows));
    this.shares = h("ul", { class: "shares" });
    this.sharing = h("section", { class: "panel", "aria-labelledby": "shares-title", hidden: true }, h("h2", { id: "shares-title" }, "Namespaces"), this.shares);
    this.log = new Log(name);
    this.exec = new Exec(name);
    this.element = h("article", { class: "page" },
      h("a", { class: "back", href: "#/" }, "‹ All containers"),
      h("header", { class: "head" }, this.title, this.state,
        h("div", { class: "actions", role: "group", "aria-label": `What to do with ${name}` },
          this.buttons.map(({ button }) => button), h("span", { class: "space" }), this.always)),
      this.warnings,
      this.curves,
      this.numbers,
      h("section", { class: "panel", "aria-labelledby": "processes-title" },
        h("h2", { id: "processes-title" }, "Processes"), this.none, this.table),
      this.log.element,
      this.exec.element,
      this.sharing,
      h("section", { class: "panel", "aria-labelledby": "facts-title" }, h("h2", { id: "facts-title" }, "Record"), this.facts));
    this.#enable();
  }

  /** It is shown no more. */
  end() {
    this.log.end();
    this.exec.end();
    this.cpu.end();
    this.memory.end();
  }

  get #condition() {
    return this.record?.run?.restarting ? "restarting" : this.record?.status;
  }

  #enable() {
    const condition = this.#condition;
    for (const { button, states } of this.buttons) button.disabled = this.busy || !states.includes(condition);
    for (const button of this.always) button.disabled = this.busy || !this.record;
    // One place for the two: the one or the other.
    for (const { button } of this.buttons) {
      if (button.dataset.verb === "pause") button.hidden = condition === "paused";
      if (button.dataset.verb === "resume") button.hidden = condition !== "paused";
    }
    this.exec.allow(condition === "running");
  }

  async #act(button, act, verb) {
    const focused = document.activeElement === button;
    this.busy = true;
    this.#enable();
    button.setAttribute("aria-busy", "true");
    await act(of(this.name, `/${verb}`));
    await this.read();
    button.removeAttribute("aria-busy");
    this.busy = false;
    this.#enable();
    if (!focused || !this.element.isConnected || ![button, document.body].includes(document.activeElement)) return;
    // The button that was pressed can perhaps not be pressed again: the keyboard goes on from one that can, first from
    // the one that takes it back.
    const back = this.buttons.find((other) => other.button.dataset.verb === BACK[verb]);
    const next = [button, back?.button, ...this.buttons.map((other) => other.button)].find((other) => other && !other.disabled && !other.hidden);
    (next ?? this.title).focus();
  }

  /** Reads its record. */
  async read() {
    try {
      const { data } = await call("GET", of(this.name));
      this.#show(data);
    } catch (error) {
      if (error.status === 404 || error.status === 400) this.#gone(error);
      else say(this.numbers, error.message);
    }
    return this.record;
  }

  #gone(error) {
    this.record = null;
    this.end();
    this.element.replaceChildren(h("a", { class: "back always", href: "#/" }, "‹ All containers"), this.title, h("p", { role: "status" }, error.whole));
  }

  #show(record) {
    this.record = record;
    const fresh = badge(record);
    if (fresh.textContent !== this.state.textContent) { this.state.replaceWith(fresh); this.state = fresh; }
    this.#enable();
    const run = record.run ?? {};
    // Its first look at the log, and one more for each new life.
    if (record.run && this.#began !== `${run.started_at}`) this.log.begin();
    if (!record.run) this.log.none();
    this.#began = record.run && `${run.started_at}`;
    const warnings = (run.not_in_force ?? []).map((missing) => `${missing.limit} is not in force: ${missing.why}${missing.hint ? ` (${missing.hint})` : ""}`);
    if (run.error) warnings.push(`it could not be started: ${run.error}`);
    if (run.oom_kills) warnings.push(`the kernel killed ${run.oom_kills} of its processes at the memory limit`);
    const text = warnings.join("\n");
    if (this.warnings.dataset.text !== text) {
      this.warnings.dataset.text = text;
      this.warnings.replaceChildren(...warnings.map((warning) => h("p", { class: "warning" }, plain(warning))));
    }
    this.#facts(record, run);
  }

  #facts(record, run) {
    const config = record.config ?? {};
    const limits = config.limits ?? {};
    const facts = [
      ["Command", config.args ? config.args.map((text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : JSON.stringify(text))).join(" ") : record.command],
      ["Root filesystem", record.rootfs],
      ["Id", record.id],
      ["Created", record.created_at && when(record.created_at)],
      ["Started", run.started_at && when(run.started_at)],
      ["Finished", run.finished_at && when(run.finished_at)],
      ["Exit code", run.exit_code],
      ["Restarts", run.restarts],
      ["Memory limit", limits.memory ? bytes(limits.memory) : "no limit"],
      ["Memory and swap", limits.memory_swap && (limits.memory_swap > Number.MAX_SAFE_INTEGER ? "no limit" : bytes(limits.memory_swap))],
      ["Cores", limits.cpus ?? "no limit"],
      ["Process limit", limits.pids ?? "no limit"],
      ["Network", config.network],
      ["Host name", config.hostname ?? record.name],
      ["User", config.user ?? "root"],
      ["Starts in", config.workdir],
      ["Restart", config.restart],
      ["Volumes", config.volumes?.join("\n")],
      ["Environment", config.env?.join("\n")],
      ["Options", ["read_only", "strict", "init", "terminal", "interactive"].filter((name) => config[name]).join(", ").replace("_", "-")],
    ].filter(([, value]) => value !== undefined && value !== null && value !== "");
    const text = JSON.stringify(facts);
    if (text === this.factsText) return;
    this.factsText = text;
    const code = ["Command", "Environment", "Volumes"];
    this.facts.replaceChildren(...facts.map(([name, value]) => h("div", { class: code.includes(name) ? "code" : null }, h("dt", {}, name), h("dd", {}, plain(String(value))))));
  }

  /** Shows what it used lately: `{points, last}`. */
  use(usage) {
    const last = usage?.last;
    const points = usage?.points ?? [];
    // Of what does not run, and has not lately, there is nothing to draw.
    this.curves.hidden = points.length === 0 && !["running", "paused"].includes(this.record?.status);
    this.cpu.show(points.map(({ time, cpu }) => ({ time, value: cpu })), last?.cpu_limit ? last.cpu_limit * 100 : null);
    this.memory.show(points.map(({ time, memory }) => ({ time, value: memory })), last?.memory_limit);
    if (!last) { say(this.numbers, ""); return; }
    const parts = [`${last.pids ?? "–"} of ${last.pids_limit ?? "any number of"} processes and threads`, `${duration(last.cpu_usec ?? 0)} of CPU time`];
    if (last.periods) parts.push(`had to wait for the CPU in ${Math.round(last.throttled_periods / last.periods * 100)} % of its periods`);
    say(this.numbers, parts.join(" · "));
  }

  /** Reads its processes and namespaces. */
  async look() {
    const runs = ["running", "paused"].includes(this.record?.status);
    if (!runs) {
      this.#table([], "It does not run.");
      this.sharing.hidden = true;
      return;
    }
    const [top, namespaces] = await Promise.allSettled([call("GET", of(this.name, "/top")), call("GET", "/namespaces")]);
    if (top.status === "fulfilled") this.#table(top.value.data, "");
    else this.#table([], top.reason.message);
    if (namespaces.status !== "fulfilled") return;
    const text = JSON.stringify(namespaces.value.data);
    if (text !== this.sharesText) this.shares.replaceChildren(...shares(namespaces.value.data, this.name).filter(Boolean));
    this.sharesText = text;
    this.sharing.hidden = this.shares.childElementCount === 0;
  }

  #table(processes, note) {
    say(this.none, note);
    this.table.hidden = processes.length === 0;
    const rows = processes.map((process) => {
      const values = [process.inside, process.pid, process.user ?? process.uid ?? "–", process.state, process.threads, duration(process.cpu_usec), bytes(process.memory), plain(process.command)];
      let row = this.#processes.get(process.pid);
      if (!row) {
        row = h("tr", {}, values.map(() => h("td")));
        this.#processes.set(process.pid, row);
      }
      values.forEach((value, index) => say(row.children[index], String(value)));
      return row;
    });
    for (const pid of this.#processes.keys()) if (!processes.some((process) => process.pid === pid)) this.#processes.delete(pid);
    arrange(this.rows, rows);
  }
}
