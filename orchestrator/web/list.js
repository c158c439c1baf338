// The list of containers: a page of the server's at a time, so that ten thousand are no burden.

import { arrange, badge, bytes, h, percent, plain, plural, say } from "./dom.js";
import { call } from "./api.js";

const PAGE = 100;
/** So many the server sends at once, if it is asked to. */
const MOST = 1000;

export class List {
  #rows = new Map();
  #limit = PAGE;
  #asked = 0;
  records = [];

  constructor(failed) {
    this.failed = failed;
    this.element = document.getElementById("list");
    this.count = document.getElementById("count");
    this.more = document.getElementById("more");
    this.none = document.getElementById("none");
    this.broken = document.getElementById("broken");
    this.prune = document.getElementById("prune");
    this.prefix = document.getElementById("prefix");
    this.state = document.getElementById("state");
    document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
    const again = () => { this.#limit = PAGE; this.read(); };
    this.prefix.addEventListener("input", again);
    this.state.addEventListener("change", again);
    this.more.addEventListener("click", () => { this.#limit += PAGE; this.read(); });
    this.element.addEventListener("keydown", (event) => this.#walk(event));
  }

  /** Reads it again. Of several answers the one to the last question counts. */
  async read() {
    const asked = ++this.#asked;
    try {
      const records = [];
      let total = NaN;
      let broken = [];
      let next = this.#path();
      while (next && records.length < this.#limit) {
        const page = await call("GET", next);
        records.push(...page.data);
        ({ total, next } = page);
        broken = broken.concat(page.message.split("; ").slice(1));
      }
      if (asked !== this.#asked) return;
      this.records = records.slice(0, this.#limit);
      this.#show(total, Boolean(next) || records.length > this.#limit);
      // Records that cannot be read are no containers, and should not just be missing.
      this.broken.hidden = broken.length === 0;
      say(this.broken, plain(broken.join("\n")));
    } catch (error) {
      this.failed(error);
    }
  }

  #path() {
    const query = new URLSearchParams({ limit: Math.min(this.#limit, MOST) });
    if (this.prefix.value.trim()) query.set("prefix", this.prefix.value.trim());
    if (this.state.value) query.set("status", this.state.value);
    return `/containers?${query}`;
  }

  #show(total, more) {
    const names = new Set(this.records.map((record) => record.name));
    for (const name of this.#rows.keys()) if (!names.has(name)) this.#rows.delete(name);
    arrange(this.element, this.records.map((record) => this.#row(record).element));
    this.more.hidden = !more;
    const filtered = this.prefix.value.trim() || this.state.value;
    this.prune.hidden = Boolean(filtered) || this.records.every((record) => ["running", "paused"].includes(record.status));
    this.none.hidden = this.records.length > 0 || Boolean(filtered);
    if (this.records.length === 0) say(this.count, filtered ? "No container is like this." : "There is no container yet.");
    else if (more && total > this.records.length) say(this.count, `${this.records.length} of ${total} containers`);
    else say(this.count, plural(this.records.length, "container", "containers"));
  }

  #row(record) {
    let row = this.#rows.get(record.name);
    if (!row) {
      row = { state: h("span"), command: h("code"), cpu: h("span"), memory: h("span"), link: h("a", { href: `#/containers/${encodeURIComponent(record.name)}` }) };
      row.usage = h("span", { class: "usage", hidden: true }, row.cpu, row.memory);
      row.link.append(h("span", { class: "row-head" }, h("b", {}, record.name), row.state), row.command, row.usage);
      row.element = h("li", {}, row.link);
      this.#rows.set(record.name, row);
      if (location.hash === row.link.getAttribute("href")) row.link.setAttribute("aria-current", "page");
    }
    const fresh = badge(record);
    if (row.state.className !== fresh.className) { row.state.replaceWith(fresh); row.state = fresh; }
    say(row.command, plain(record.command));
    row.usage.hidden = !["running", "paused"].includes(record.status);
    return row;
  }

  /** Shows what they use. */
  use(usages) {
    for (const [name, row] of this.#rows) {
      const usage = usages.get(name);
      say(row.cpu, `CPU ${percent(usage?.cpu_percent)}`);
      say(row.memory, `memory ${bytes(usage?.memory)}`);
    }
  }

  /** Marks the one that is shown. */
  mark(name) {
    for (const [other, row] of this.#rows) {
      if (other === name) row.link.setAttribute("aria-current", "page");
      else row.link.removeAttribute("aria-current");
    }
  }

  /** The arrows go from one to the next. */
  #walk(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const links = [...this.element.querySelectorAll("a")];
    const next = links[links.indexOf(document.activeElement) + step];
    if (next) { next.focus(); event.preventDefault(); }
  }
}
