// A curve of the last two minutes against its limit, drawn as SVG.

import { h, svg, say } from "./dom.js";

const SECONDS = 120;
const HEIGHT = 150;
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 10, 10, 22];
/** After so long without a point the line is broken: nobody looked. */
const GAP = 4000;

/** The next round number above: 1, 2 or 5 times a power of the base. */
function round(value, base) {
  const step = base ** Math.floor(Math.log(value) / Math.log(base));
  for (const factor of base === 2 ? [1, 1.5, 2] : [1, 2, 5, 10]) if (value <= factor * step) return factor * step;
  return value;
}

export class Curve {
  #points = [];
  #limit = null;

  /** `name` and `kind` (its colour); `format` writes a value; `least` is the least height of the scale; `base` 2 or 10. */
  constructor({ name, kind, format, least, base }) {
    Object.assign(this, { name, format, least, base });
    this.now = h("strong", {}, "–");
    this.rest = h("span", {}, "");
    this.picture = svg("svg", { class: `curve ${kind}`, role: "img", height: HEIGHT, width: "100%" });
    this.element = h("figure", { class: "panel" }, h("figcaption", {}, h("h2", {}, name), h("p", {}, this.now, this.rest)), this.picture);
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.picture);
  }

  /** Points are `{time, value}`, in order. */
  show(points, limit) {
    this.#points = points;
    this.#limit = limit ?? null;
    this.#draw();
  }

  end() { this.observer.disconnect(); }

  #draw() {
    const width = this.picture.clientWidth;
    if (width < LEFT + RIGHT + 20) return;
    const now = Date.now();
    const seen = this.#points.filter((point) => point.time > now - SECONDS * 1000 && point.value !== null);
    const peak = seen.reduce((most, point) => Math.max(most, point.value), 0);
    const top = round(Math.max(peak, this.#limit ?? 0, this.least) * 1.05, this.base);
    const x = (time) => LEFT + (width - LEFT - RIGHT) * (1 - (now - time) / (SECONDS * 1000));
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const at = y(top * share);
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
      parts.push(svg("text", { class: "axis", x: LEFT - 6, y: at + 4, "text-anchor": "end" }, this.format(top * share)));
    }
    for (const ago of [120, 60, 0]) {
      const anchor = ago === 0 ? "end" : ago === 120 ? "start" : "middle";
      const text = ago === 0 ? "now" : `${ago} s ago`;
      parts.push(svg("text", { class: "axis", x: x(now - ago * 1000), y: HEIGHT - 5, "text-anchor": anchor }, text));
    }
    for (const run of runs(seen)) {
      const line = run.map((point) => `${x(point.time).toFixed(1)},${y(point.value).toFixed(1)}`).join(" L");
      const [first, last] = [x(run[0].time).toFixed(1), x(run.at(-1).time).toFixed(1)];
      parts.push(svg("path", { class: "area", d: `M${first},${y(0)} L${line} L${last},${y(0)} Z` }));
      parts.push(svg("path", { class: "line", d: `M${line}` }));
    }
    if (this.#limit !== null) {
      const at = y(this.#limit);
      parts.push(svg("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
      parts.push(svg("text", { class: "limit-text", x: width - RIGHT, y: at < 28 ? at + 14 : at - 5, "text-anchor": "end" }, "limit"));
    }
    this.picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.picture.replaceChildren(...parts);
    const last = seen.at(-1);
    const current = last && now - last.time < GAP ? this.format(last.value) : "–";
    const limit = this.#limit === null ? "no limit" : `limit ${this.format(this.#limit)}`;
    say(this.now, current);
    say(this.rest, ` · most ${seen.length ? this.format(peak) : "–"} · ${limit}`);
    this.picture.setAttribute("aria-label", `${this.name}, the last two minutes: now ${current}, most ${this.format(peak)}, ${limit}`);
  }
}

function runs(points) {
  const runs = [];
  let before = -Infinity;
  for (const point of points) {
    if (point.time - before > GAP) runs.push([]);
    runs.at(-1).push(point);
    before = point.time;
  }
  return runs;
}
