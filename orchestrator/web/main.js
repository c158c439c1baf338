// The page: what is shown, and what keeps it true.
//
// | file | what it is |
// |---|---|
// | api.js | requests and streams |
// | list.js | the containers |
// | detail.js | one of them, with curve.js, log.js and exec.js |
// | namespaces.js | the tree of namespaces |
// | dialogs.js | what is asked first, in forms of form.js |
// | dom.js | elements |

import { call, follow, of, onUnknown, sleep, token } from "./api.js";
import { Detail } from "./detail.js";
import { create, prune, sign } from "./dialogs.js";
import { h, say } from "./dom.js";
import { List } from "./list.js";
import { Namespaces } from "./namespaces.js";

const main = document.getElementById("main");
const frame = document.getElementById("frame");
const toasts = document.getElementById("toasts");

/** What each running container used in the last two minutes: `{points, last}`. */
const usages = new Map();
/** What is shown besides the list: a `Detail`, the `Namespaces`, or nothing. */
let shown = null;

const list = new List((error) => unwell(error));

// What is done, and what is said about it.

function toast(text, failed) {
  const close = h("button", { type: "button", class: "quiet", "aria-label": "Close this message", onclick: () => element.remove() }, "×");
  const element = h("div", { class: failed ? "toast failed" : "toast", role: failed ? "alert" : null }, h("p", {}, text), close);
  toasts.append(element);
  while (toasts.childElementCount > 4) toasts.firstElementChild.remove();
  // What went wrong stays until it has been read.
  if (!failed) setTimeout(() => element.remove(), 6000);
}

function sayNo(failure) {
  if (failure.status !== 401) toast(failure.whole, true);
}

/** Does something at once. */
async function act(path) {
  try {
    const { message } = await call("POST", path, {});
    toast(message, false);
  } catch (failure) {
    sayNo(failure);
  } finally {
    refresh();
  }
}

/** What a dialog did is said; then it goes there. */
function done(message, where) {
  toast(message, false);
  if (where) location.hash = where;
  refresh();
}

document.getElementById("prune").addEventListener("click", () => prune(done).catch(sayNo));
document.getElementById("new").addEventListener("click", () => create(async (name, message, start) => {
  toast(message, false);
  location.hash = `#/containers/${encodeURIComponent(name)}`;
  if (start) await act(of(name, "/start"));
  else refresh();
}));

// What is shown.

function route() {
  shown?.end?.();
  const [page, rest] = location.hash.replace(/^#\/?/, "").split("/");
  let name = null;
  if (page === "namespaces") {
    shown = new Namespaces();
    shown.read();
  } else if (page === "containers" && rest) {
    try { name = decodeURIComponent(rest); } catch { name = rest; }
    shown = new Detail(name, act, done);
    shown.use(usages.get(name));
    const detail = shown;
    detail.read().then(() => { detail.use(usages.get(name)); detail.look(); });
  } else {
    shown = null;
  }
  main.replaceChildren(...(shown ? [shown.element] : []));
  // What fills the page is what it is about.
  document.getElementById("side").role = shown === null ? "main" : "complementary";
  frame.className = `frame ${shown === null ? "at-list" : name === null ? "at-page" : "at-detail"}`;
  document.title = `${name ?? (page === "namespaces" ? "namespaces" : "containers")} · minirun`;
  list.mark(name);
  for (const link of document.querySelectorAll("[data-page]")) {
    if (link.dataset.page === (page === "namespaces" ? "namespaces" : "containers")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Where the reading begins. */
const begin = () => (shown?.title ?? document.getElementById("list-title")).focus({ preventScroll: true });

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  begin();
});

window.addEventListener("hashchange", () => {
  const before = shown;
  route();
  if (shown !== before) window.scrollTo(0, 0);
  begin();
});

// What keeps it true. Events come at once; what has none (a container that was paused by hand in its cgroup, another
// store) is seen at the next look.

let due = null;
function refresh() {
  due ??= setTimeout(async () => {
    due = null;
    list.read();
    await shown?.read?.();
    await shown?.look?.();
  }, 100);
}

/** How the server is, in a few words; what that means for the reader, if it is not well. */
function health(words, meaning) {
  document.getElementById("health").classList.toggle("bad", Boolean(meaning));
  say(document.getElementById("health-text"), words);
  const trouble = document.getElementById("trouble");
  trouble.hidden = !meaning;
  say(trouble, meaning ?? "");
}

function unwell(error) {
  if (error.status === 401) return;
  const meaning = error.status ? error.whole : "What you see may be out of date. The page goes on trying, and will be up to date as soon as the server answers.";
  health(error.status ? "the server is in trouble" : error.message, meaning);
}

async function askHealth() {
  try {
    const { data } = await call("GET", "/health");
    health(`${data.storage} store · version ${data.version}`);
  } catch (error) {
    unwell(error);
  }
}

function used(all) {
  const time = Date.now();
  for (const usage of all) {
    const known = usages.get(usage.name) ?? { points: [] };
    known.last = usage;
    known.points.push({ time, cpu: usage.cpu_percent, memory: usage.memory });
    while (known.points[0].time < time - 125_000) known.points.shift();
    usages.set(usage.name, known);
  }
  const now = new Map(all.map((usage) => [usage.name, usage]));
  for (const [name, known] of usages) {
    if (now.has(name)) continue;
    known.last = null;
    if ((known.points.at(-1)?.time ?? 0) < time - 125_000) usages.delete(name);
  }
  list.use(now);
  if (shown instanceof Detail) shown.use(usages.get(shown.name));
}

/** Everything that goes on while the page is seen. A browser has only a few connections to a server: a tab that nobody sees gives its own back. */
function live(signal) {
  const again = () => { refresh(); askHealth(); };
  follow("/events?follow=true", signal, { begin: again, event: refresh, failure: (error) => { if (!error.status) unwell(error); } });
  follow("/stats?stream=true", signal, { event: used });
  (async () => {
    for (let turn = 0; !signal.aborted; turn++) {
      if (turn % 5 === 0) { askHealth(); list.read(); shown?.read?.(); }
      shown?.look?.();
      await sleep(2000, signal);
    }
  })();
}

let living = null;
function wake() {
  if (document.hidden) { living?.abort(); living = null; return; }
  if (living) return;
  living = new AbortController();
  live(living.signal);
}
document.addEventListener("visibilitychange", wake);

// Who asks.

let asking = null;
onUnknown(() => {
  living?.abort();
  if (asking?.open) return;
  asking = sign(token.get() !== null);
  token.forget();
});
const forget = document.getElementById("forget");
forget.hidden = token.get() === null;
forget.addEventListener("click", () => { token.forget(); location.reload(); });

route();
wake();
