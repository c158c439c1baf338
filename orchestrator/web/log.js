// What a container writes, as it writes it.

import { h, plain } from "./dom.js";
import { follow, of } from "./api.js";

/** So many lines stay in the page, and so much text. */
const MOST = 5000;
const MOST_TEXT = 2_000_000;

export class Log {
  #pending = [];
  #ended = true;
  #size = 0;
  #stop = null;

  constructor(name) {
    this.name = name;
    this.lines = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": `What ${name} wrote`, tabindex: 0 });
    this.state = h("span", { class: "note", role: "status" });
    this.follows = h("input", { type: "checkbox", checked: true, onchange: () => this.#bottom() });
    const wraps = h("input", { type: "checkbox", checked: true, onchange: (event) => this.lines.classList.toggle("long", !event.target.checked) });
    this.element = h("section", { class: "panel", "aria-labelledby": "log-title" },
      h("div", { class: "panel-head" }, h("h2", { id: "log-title" }, "Log"), this.state,
        h("label", { class: "check" }, this.follows, "Follow"), h("label", { class: "check" }, wraps, "Wrap")),
      this.lines);
    // Whoever scrolls up wants to read; whoever scrolls down to the end wants to follow again.
    const look = () => {
      this.follows.checked = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 30;
    };
    for (const event of ["wheel", "touchmove", "keyup", "pointerup"]) this.lines.addEventListener(event, () => requestAnimationFrame(look), { passive: true });
  }

  /** Follows it, if nobody does. */
  begin() {
    if (!this.#ended) return;
    this.#ended = false;
    this.#stop = new AbortController();
    follow(of(this.name, "/logs?follow=true&tail=1000"), this.#stop.signal, {
      begin: () => { this.#pending = []; this.#size = 0; this.lines.replaceChildren(); this.state.textContent = "following"; },
      event: (line) => this.#add(line),
      end: () => { this.#ended = true; this.state.textContent = "it has ended"; },
      failure: (error) => {
        if (error.status >= 400 && error.status < 500) this.#ended = true;
        this.state.textContent = error.status === 409 ? "no log: it was never in the background" : error.message;
      },
    });
  }

  /** There is nothing to follow. */
  none() {
    this.state.textContent = "it has never been started";
  }

  end() {
    this.#stop?.abort();
    this.#ended = true;
  }

  #add(line) {
    if (this.#pending.push(line) === 1) setTimeout(() => this.#show(), 50);
  }

  /** A burst of lines at once. */
  #show() {
    const rows = this.#pending.splice(0).slice(-MOST).map((line) => {
      const time = h("time", { datetime: line.time }, new Date(line.time).toLocaleTimeString());
      const text = plain(line.text) + (line.partial ? " …" : "");
      return h("div", { class: line.stream }, time, line.stream === "stderr" ? h("span", { class: "mark" }, "err") : null, h("span", {}, text));
    });
    this.lines.append(...rows);
    for (const row of rows) this.#size += row.lastChild.textContent.length;
    while (this.lines.childElementCount > MOST || this.#size > MOST_TEXT) {
      this.#size -= this.lines.firstElementChild.lastChild.textContent.length;
      this.lines.firstElementChild.remove();
    }
    this.#bottom();
  }

  #bottom() {
    if (this.follows.checked) this.lines.scrollTop = this.lines.scrollHeight;
  }
}
