// The connections: a WebSocket, or an event stream read with `fetch`.

import { waitOf, type Ending } from "./endings.js";
import { isHeartbeat, parseEvent } from "./events.js";
import { Queue } from "./queue.js";
import { Elapsed } from "./watch.js";

/** One attempt to connect. */
export interface Attempt {
  base: URL;
  query: URLSearchParams;
  /** A token, for programs; pages have a ticket in the query. */
  token: string | undefined;
  signal: AbortSignal;
  /** Called for whatever arrives, heartbeats too. */
  onAlive: () => void;
  /** Called when the connection has ended. What it has received and was not yielded is dropped: it comes again. */
  onEnd: () => void;
  /** Whether heartbeats that arrive over a WebSocket are answered. */
  answers?: boolean;
  /** Called for each message of a WebSocket when it arrives; it is not yielded if this returns true. */
  intercept?: (text: string, send: (text: string) => void) => boolean;
}

/** Yields the texts of messages, and returns how it ended. */
export type Transport = (attempt: Attempt) => AsyncGenerator<string, Ending>;

const SUBPROTOCOL = "cloudevents.json";
const HEARTBEAT = '{"type":"trelay.heartbeat"}';
const OPEN_TIMEOUT = 10_000;
const QUEUE_LIMIT = 10_000;
/** A page has no more memory than some hundred megabytes, and an event may have one. */
const QUEUE_CHARACTERS = 64 * 1024 * 1024;
const SLOW = "the program is behind; reconnecting from its cursor";

/** Read over a WebSocket. */
export async function* overWebSocket(attempt: Attempt): AsyncGenerator<string, Ending> {
  const url = new URL("ws/publish", attempt.base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = attempt.query.toString();
  const protocols = attempt.token === undefined ? [SUBPROTOCOL] : [SUBPROTOCOL, `bearer.${attempt.token}`];
  const socket = new WebSocket(url, protocols);
  const queue = new Queue<Ending>();
  let opened: Elapsed | undefined;
  const openFor = (): { openFor?: number } => (opened === undefined ? {} : { openFor: opened.milliseconds });
  const end = (code: number, reason: string): void => {
    const wait = waitOf(reason);
    queue.cut({ code, reason, ...openFor(), ...(wait === undefined ? {} : { wait }) });
    attempt.onEnd();
  };
  const abandon = (): void => {
    end(1006, String(attempt.signal.reason ?? "closed"));
    socket.close();
  };
  const timer = setTimeout(() => {
    end(1006, "the connection was not opened in time");
    socket.close();
  }, OPEN_TIMEOUT);
  socket.onopen = () => {
    clearTimeout(timer);
    opened = new Elapsed();
    attempt.onAlive();
  };
  socket.onmessage = (message: MessageEvent<string>) => {
    attempt.onAlive();
    if (attempt.answers === true && message.data.includes('"trelay.heartbeat"') && isHeartbeat(parseEvent(message.data))) {
      socket.send(HEARTBEAT);
    }
    if (attempt.intercept?.(message.data, (text) => socket.send(text)) === true) {
      return;
    }
    queue.put(message.data);
    if (queue.size > QUEUE_LIMIT || queue.characters > QUEUE_CHARACTERS) {
      // A browser reads on whether the page keeps up or not. The connection is held until the queue is taken: without it,
      // another tab could receive the same events.
      queue.end({ code: 1006, reason: SLOW, ...openFor() });
    }
  };
  socket.onclose = (closed: CloseEvent) => end(closed.code, closed.reason);
  attempt.signal.addEventListener("abort", abandon);
  if (attempt.signal.aborted) {
    abandon();
  }
  try {
    return yield* queue.take();
  } finally {
    clearTimeout(timer);
    attempt.signal.removeEventListener("abort", abandon);
    socket.close();
  }
}

/** Read an event stream: for networks that break WebSockets, and for Node without them. */
export async function* overEventStream(attempt: Attempt): AsyncGenerator<string, Ending> {
  const url = new URL("sse/publish", attempt.base);
  url.search = attempt.query.toString();
  const headers = attempt.token === undefined ? {} : { Authorization: `Bearer ${attempt.token}` };
  let opened: Elapsed | undefined;
  try {
    const response = await fetch(url, { headers, signal: attempt.signal, cache: "no-store", redirect: "manual" });
    if (!response.ok || response.body === null) {
      return await refusal(response);
    }
    opened = new Elapsed();
    attempt.onAlive();
    for await (const entry of entries(response.body, attempt.onAlive)) {
      if (entry.event === "trelay.closed") {
        return { ...(JSON.parse(entry.data) as Ending), openFor: opened.milliseconds };
      }
      yield entry.data;
    }
    return { code: 1006, reason: "connection lost", openFor: opened.milliseconds };
  } catch (error) {
    const reason = attempt.signal.aborted ? String(attempt.signal.reason) : describe(error);
    return { code: 1006, reason, ...(opened === undefined ? {} : { openFor: opened.milliseconds }) };
  }
}

/** Return how a response refuses. */
export async function refusal(response: Response): Promise<Ending> {
  if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400)) {
    await response.body?.cancel();
    const reason = `moved to ${response.headers.get("Location") ?? "another address"}`;
    return { code: 1006, status: response.status || 302, reason }; // browsers hide the status and the address
  }
  const after = Number(response.headers.get("Retry-After") ?? "");
  const problem = (await response.json().catch(() => ({}))) as { code?: string; detail?: string };
  const reason = problem.detail ?? response.statusText;
  const code = typeof problem.code === "string" ? { problem: problem.code } : {};
  return { code: 1006, status: response.status, reason, ...code, ...(after > 0 ? { wait: after } : {}) };
}

/** Return what is wrong in one sentence. `fetch` hides the cause in an error of its own. */
export function describe(error: unknown): string {
  const found = error as { message?: string; cause?: { message?: string } };
  return found.cause?.message || found.message || String(error);
}

interface Entry {
  event: string;
  data: string;
}

/** Read the entries of an event stream (the HTML standard, 9.2). The cursor is in the event as well. */
export async function* entries(body: ReadableStream<Uint8Array>, onBytes: () => void): AsyncGenerator<Entry> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let event = "";
  let data: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      onBytes();
      const text = decoder.decode(value, { stream: true });
      if (!text.includes("\n")) {
        rest += text; // not split again with each piece of a large event
        continue;
      }
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          if (data.length > 0) {
            yield { event, data: data.join("\n") };
          }
          event = "";
          data = [];
        } else if (line.startsWith("data: ")) {
          data.push(line.slice(6));
        } else if (line.startsWith("event: ")) {
          event = line.slice(7);
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
