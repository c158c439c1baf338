// The API: answers in their envelope, and streams of server-sent events.
//
// `EventSource` cannot send a token, so streams are read with fetch.

const KEY = "minirun-token"; // of this tab alone, and gone with it

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** What the API says no with. */
export class Failure extends Error {
  constructor(status, { error, hint, field } = {}) {
    super(error ?? (status ? `the server answered with ${status}` : "the server cannot be reached"));
    Object.assign(this, { status, hint, field });
  }

  /** What was not done, and what can be done about it. */
  get whole() {
    return this.hint ? `${this.message}: ${this.hint}` : this.message;
  }
}

/** Called when the server wants to know who asks. */
let unknown = () => {};
export const onUnknown = (callback) => { unknown = callback; };

async function request(method, path, body, signal) {
  const headers = {};
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(0);
  }
  if (response.ok) return response;
  if (response.status === 401) unknown();
  throw new Failure(response.status, await response.json().catch(() => undefined));
}

/** Asks for something. Returns the envelope, and with it the total of a list and the path of its next page. */
export async function call(method, path, body, signal) {
  const response = await request(method, path, body, signal);
  const envelope = await response.json();
  envelope.total = Number(response.headers.get("x-total-count") ?? NaN);
  envelope.next = response.headers.get("link")?.match(/^<([^>]+)>; rel="next"/)?.[1];
  return envelope;
}

/** The path of a container, or of something of it. */
export const of = (name, rest = "") => `/containers/${encodeURIComponent(name)}${rest}`;

/** The events of a stream: `[name, data]` each. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let [event, data] = ["", ""];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (text + value).split("\n");
    text = lines.pop();
    for (const line of lines) {
      if (line.startsWith("event:")) event = line.slice(6).trim();
      else if (line.startsWith("data:")) data += line.slice(5);
      else if (line === "") {
        if (event) yield [event, JSON.parse(data)];
        [event, data] = ["", ""];
      }
    }
  }
}

/** Waits, unless there is no reason to any more. */
export const sleep = (milliseconds, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, milliseconds);
  signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
});

/**
 * Follows a stream until the signal, or its event `end`. When the connection breaks it is made again, after longer and
 * longer waits. `on.begin` is called at each beginning, `on.event` with each event, `on.failure` when it does not go.
 */
export async function follow(path, signal, on) {
  let wait = 500;
  while (!signal.aborted) {
    try {
      const response = await request("GET", path, undefined, signal);
      on.begin?.();
      for await (const [event, data] of events(response)) {
        wait = 500;
        if (event === "end") return on.end?.();
        on.event(data);
      }
    } catch (error) {
      if (signal.aborted) return;
      on.failure?.(error);
      if (error.status >= 400 && error.status < 500 && error.status !== 429) return;
    }
    await sleep(wait, signal);
    wait = Math.min(wait * 2, 8000);
  }
}
