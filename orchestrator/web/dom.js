// Elements, made from what is text and nothing but text: no string ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element with these attributes, listeners (`onclick`) and children. */
export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

/** The same of SVG. */
export const svg = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

/** Sets the text if it is another: what stays is not read out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes a parent's children these, in this order, and leaves those alone that are there already: they keep their focus. */
export function arrange(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

/** A state, in a word and a shape, so that nothing hangs on its colour. */
export function badge(record) {
  const state = record.run?.restarting ? "restarting" : record.status;
  return h("span", { class: `badge ${state}` }, state);
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes, for people. */
export function bytes(count) {
  if (count === null || count === undefined) return "–";
  let unit = 0;
  while (count >= 1024 && unit < UNITS.length - 1) { count /= 1024; unit++; }
  return `${count < 10 && unit > 0 ? count.toFixed(1) : Math.round(count)} ${UNITS[unit]}`;
}

/** Bytes, as one would type them: `64M`, `1G`, `max`. */
export function amount(count) {
  if (count === null || count === undefined || count > Number.MAX_SAFE_INTEGER) return "max";
  for (const [unit, size] of [["G", 2 ** 30], ["M", 2 ** 20], ["K", 2 ** 10]]) if (count % size === 0) return `${count / size}${unit}`;
  return `${count}`;
}

/** Per cent of a core. */
export const percent = (value) => (value === null || value === undefined ? "–" : `${value < 10 && value > 0 ? value.toFixed(1) : Math.round(value)} %`);

/** A time of the server's, as the reader's clock shows it. */
export function when(text) {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** CPU time. */
export function duration(microseconds) {
  const seconds = microseconds / 1e6;
  if (seconds < 60) return `${seconds.toFixed(2)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The same with its number: `1 process`, `2 processes`. */
export const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

/** What containers write may hold codes for a terminal, which mean nothing here. */
export const plain = (text) =>
  text.replace(/\u001b\[[0-9;:?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[ -~]/g, "")
    .replace(/\r(?=\n|$)/g, "")
    // The start of the line again, as for a bar that grows: nothing is hidden by what came after it.
    .replace(/\r/g, "\u240d")
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd")
    // Marks that turn the direction of the rest, and could make one text look like another.
    .replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
