// The tree of namespaces: which belong to which user namespace, and who is in them.

import { h, plural } from "./dom.js";
import { call } from "./api.js";

/** What a namespace of each kind gives who is in it a view of its own of. */
const WHAT = {
  user: "user and group ids, and who is root",
  pid: "process ids",
  mnt: "mounts",
  uts: "the host name",
  ipc: "System V IPC and message queues",
  net: "network interfaces, addresses, ports",
  cgroup: "the cgroup tree",
  time: "the clocks since boot",
};

const link = (name) => h("a", { href: `#/containers/${encodeURIComponent(name)}` }, name);

/** Who is in it, as a text that is the same for the same members. */
const members = (namespace) => JSON.stringify([namespace.host, namespace.containers]);

/** A container's own line: for each kind whether it is shared, and with whom. */
export function shares(namespaces, name) {
  return Object.keys(WHAT).map((kind) => {
    const mine = namespaces.find((other) => other.kind === kind && other.containers.includes(name));
    if (!mine) return null;
    const others = mine.containers.filter((other) => other !== name);
    const text = mine.host ? "the host's" : others.length ? `shared with ${others.join(", ")}` : "its own";
    return h("li", { class: mine.host ? "shared" : "own" }, h("code", {}, `${kind}:[${mine.inode}]`), h("span", {}, text), h("small", {}, WHAT[kind]));
  });
}

export class Namespaces {
  constructor() {
    this.title = h("h1", { tabindex: -1 }, "Namespaces");
    this.tree = h("ul", { class: "tree" });
    this.table = h("tbody");
    this.note = h("p", { class: "note", role: "status" });
    const kinds = Object.keys(WHAT).map((kind) => h("th", { scope: "col", title: WHAT[kind] }, kind));
    this.element = h("div", { class: "page" },
      this.title,
      h("p", {}, "What a process sees of the system is in namespaces. A container has some of its own and shares the others; who is in the same one sees the same."),
      this.note,
      h("section", { class: "panel", "aria-labelledby": "tree-title" }, h("h2", { id: "tree-title" }, "What belongs to what"), this.tree),
      h("section", { class: "panel", "aria-labelledby": "table-title" }, h("h2", { id: "table-title" }, "Who shares what"),
        h("div", { class: "scroll", tabindex: 0, role: "group", "aria-labelledby": "table-title" },
          h("table", { class: "matrix" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "container"), kinds)), this.table))));
  }

  async read() {
    try {
      const { data } = await call("GET", "/namespaces");
      // What is the same is left as it is, opened or closed, with its focus.
      const text = JSON.stringify(data);
      if (text !== this.shown) this.#show(data);
      this.shown = text;
    } catch (error) {
      this.note.textContent = error.message;
    }
  }

  #show(all) {
    const names = [...new Set(all.flatMap((namespace) => namespace.containers))].sort();
    this.note.textContent = `${plural(names.length, "container runs", "containers run")}, in ${plural(all.length, "namespace", "namespaces")} with the host's.`;
    const users = all.filter((namespace) => namespace.kind === "user");
    const known = new Set(users.map((user) => user.inode));
    const roots = users.filter((user) => !known.has(user.parent));
    // Whose owner is hidden from the server hangs from the top.
    const owned = (user) => all.filter((other) => other.kind !== "user" && (other.owner === user.inode || (user === roots[0] && !known.has(other.owner))));
    const branch = (user) => {
      const groups = Map.groupBy(owned(user), members);
      const sorted = [...groups.values()].sort((a, b) => rank(a[0]) - rank(b[0]));
      return h("li", {},
        h("div", { class: "members" }, h("code", {}, `user:[${user.inode}]`), who(user)),
        h("ul", {},
          sorted.map((group) => h("li", {},
            h("div", { class: "members" }, who(group[0])),
            h("details", { open: names.length <= 12 },
              h("summary", { class: "note" }, group.map((one) => one.kind).join(", ")),
              h("ul", {}, group.map((one) => h("li", { class: "leaf" },
                h("code", {}, `${one.kind}:[${one.inode}]`),
                h("span", {}, WHAT[one.kind]),
                one.kind === "pid" && one.parent ? h("small", {}, `in pid:[${one.parent}]`) : null)))))),
          users.filter((other) => other.parent === user.inode).map(branch)));
    };
    this.tree.replaceChildren(...roots.map(branch));
    const row = (head, has) => h("tr", {}, h("th", { scope: "row" }, head), Object.keys(WHAT).map((kind) => {
      const mine = all.find((namespace) => namespace.kind === kind && has(namespace));
      if (!mine) return h("td", { class: "unknown" }, "?");
      const alone = mine.containers.length + mine.host === 1;
      const text = alone ? "own" : mine.host ? "host" : "shared";
      return h("td", { class: alone ? "own" : "shared", title: `${kind}:[${mine.inode}]` }, text, h("small", {}, String(mine.inode)));
    }));
    this.table.replaceChildren(row("the host", (one) => one.host), ...names.map((name) => row(link(name), (one) => one.containers.includes(name))));
  }
}

/** Those of all first, then the host's own, then the containers'. */
const rank = (namespace) => (namespace.host ? (namespace.containers.length ? 0 : 1) : 2);

function who(namespace) {
  const names = namespace.containers;
  if (!namespace.host && names.length === 0) return [h("span", { class: "who" }, "nobody")];
  const shown = names.slice(0, 8).map((name) => h("span", { class: "who" }, link(name)));
  const rest = names.length > 8 ? h("span", { class: "note" }, `and ${names.length - 8} more`) : null;
  return [namespace.host ? h("span", { class: "who host" }, "the host") : null, shown, rest];
}
