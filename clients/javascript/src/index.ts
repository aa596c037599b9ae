// Subscribes to Trelay: yields every event once, across reconnections.

import { Endings, TrelayStopped, type Ending } from "./endings.js";
import { cursorOf, parseEvent, Repeats, type TrelayEvent } from "./events.js";
import { memoryStore, type ResumeStore } from "./stores.js";
import { describe, overEventStream, overWebSocket, refusal, type Transport } from "./transports.js";

export { TrelayStopped } from "./endings.js";
export { isControl, type TrelayEvent } from "./events.js";
export { fileStore, localStorageStore, memoryStore, type ResumeStore } from "./stores.js";

/** Who subscribes. Pages take `ticket`: a function that asks their own server for one. */
export type Credentials =
  | { ticket: () => Promise<string> }
  | { token: string }
  | { clientId: string; clientSecret: string };

export interface Options {
  credentials: Credentials;
  /** Channels or patterns; all that the client may read without them. */
  channels?: readonly string[];
  /** Where the cursor is kept; in memory by default. */
  store?: ResumeStore;
  /** Where to begin without a cursor: `earliest`, a duration such as `15m`, or a time in RFC 3339; now by default. */
  since?: string;
  /** A duration such as `500ms`: of the events of that time, only the latest one of each subject is received. */
  conflate?: string;
  /** Seconds: tells at most so often, by `trelay.watermark` events, up to when each source has been read. */
  watermarks?: number;
  /** `auto` takes a WebSocket where there is one, and event streams where it cannot be opened. */
  transport?: "auto" | "websocket" | "sse";
  /** Ends the subscription. */
  signal?: AbortSignal;
  /** Told before each pause what happened, and the milliseconds until the next attempt. */
  onRetry?: (reason: string, pause: number) => void;
  /** Told of each message that is no JSON object; the ones behind it follow. */
  onUnreadable?: (text: string) => void;
  random?: () => number;
}

const MISSED_HEARTBEATS = 2.5;
const FIRST_TIMEOUT = 20_000;
const CHECKS = 1_000;
const FAILED_SOCKETS = 2;

/**
 * Yield every event once, and Trelay's control events (`trelay.connected`, `trelay.gap`), until the signal aborts.
 *
 * The cursor of an event is saved when the next one is asked for: what a program was busy with when it ended comes again.
 *
 * @throws TrelayStopped if the client must not reconnect.
 */
export async function* subscribe(url: string | URL, options: Options): AsyncGenerator<TrelayEvent, void> {
  const subscription = new Subscription(url, options);
  yield* subscription.events();
}

class Subscription {
  readonly #base: URL;
  readonly #options: Options;
  readonly #store: ResumeStore;
  readonly #endings: Endings;
  readonly #repeats = new Repeats();
  readonly #signal: AbortSignal;
  #cursor: string | undefined;
  #token: string | undefined;
  #failedSockets = 0;

  constructor(url: string | URL, options: Options) {
    this.#base = new URL(url);
    if (!this.#base.pathname.endsWith("/")) {
      this.#base.pathname += "/";
    }
    this.#options = options;
    this.#store = options.store ?? memoryStore();
    this.#endings = new Endings(options.random ?? Math.random);
    this.#signal = options.signal ?? new AbortController().signal;
  }

  async *events(): AsyncGenerator<TrelayEvent, void> {
    while (!this.#signal.aborted) {
      // Each time: another tab may have gone on meanwhile.
      this.#cursor = (await this.#store.load()) ?? this.#cursor;
      const ending = yield* this.#attempt();
      if (this.#signal.aborted) {
        return;
      }
      const next = this.#endings.next(ending, !("token" in this.#options.credentials));
      if (next.renew) {
        this.#token = undefined;
      }
      this.#options.onRetry?.(next.reason, next.pause);
      await this.#pause(next.pause);
    }
  }

  async *#attempt(): AsyncGenerator<TrelayEvent, Ending> {
    const query = new URLSearchParams({ heartbeat: "event" });
    if (this.#options.channels !== undefined) {
      query.set("channels", this.#options.channels.join(","));
    }
    if (this.#options.conflate !== undefined) {
      query.set("conflate", this.#options.conflate);
    }
    if (this.#options.watermarks !== undefined) {
      query.set("watermarks", String(this.#options.watermarks));
    }
    if (this.#cursor !== undefined) {
      query.set("cursor", this.#cursor);
    } else if (this.#options.since !== undefined) {
      query.set("since", this.#options.since);
    }
    const refused = await this.#authorize(query);
    if (refused !== undefined) {
      return refused;
    }
    const watch = new Watch(this.#signal);
    const transport = this.#transport();
    const attempt = { base: this.#base, query, token: this.#token, signal: watch.signal, onAlive: () => watch.alive() };
    try {
      const ending = yield* this.#read(transport(attempt), watch);
      const failed = transport === overWebSocket && ending.openFor === undefined && ending.code === 1006;
      this.#failedSockets = failed ? this.#failedSockets + 1 : 0;
      return ending;
    } finally {
      watch.stop();
    }
  }

  async *#read(texts: AsyncGenerator<string, Ending>, watch: Watch): AsyncGenerator<TrelayEvent, Ending> {
    try {
      for (;;) {
        const found = await texts.next();
        if (found.done === true) {
          return found.value;
        }
        const event = parseEvent(found.value);
        if (event === undefined) {
          this.#options.onUnreadable?.(found.value);
          await this.#processed(cursorOf(found.value));
          continue;
        }
        if (event.source === "/trelay" && event.type === "trelay.heartbeat") {
          continue;
        }
        if (event.source === "/trelay" && event.type === "trelay.connected") {
          this.#endings.connected();
          // Only now no other tab has the connection: what it has processed since the cursor was read must not come again.
          const kept = await this.#store.load();
          if (kept !== undefined && kept !== this.#cursor) {
            return { code: 1006, reason: "another tab or program has gone on; resuming from its cursor" };
          }
          watch.expect((event.data as { heartbeat?: number } | undefined)?.heartbeat);
        }
        if (!this.#repeats.isRepeat(event)) {
          yield event;
        }
        await this.#processed(event.cursor);
      }
    } finally {
      await texts.return({ code: 1000, reason: "" });
    }
  }

  async #processed(cursor: string | undefined): Promise<void> {
    if (cursor !== undefined) {
      this.#cursor = cursor;
      await this.#store.save(cursor);
    }
  }

  #transport(): Transport {
    switch (this.#options.transport ?? "auto") {
      case "websocket":
        return overWebSocket;
      case "sse":
        return overEventStream;
      default:
        return typeof WebSocket === "undefined" || this.#failedSockets >= FAILED_SOCKETS ? overEventStream : overWebSocket;
    }
  }

  /** Get a token or a ticket; return how that was refused, if it was. */
  async #authorize(query: URLSearchParams): Promise<Ending | undefined> {
    const credentials = this.#options.credentials;
    try {
      if ("ticket" in credentials) {
        query.set("ticket", await credentials.ticket());
      } else if ("token" in credentials) {
        this.#token = credentials.token;
      } else {
        this.#token ??= await this.#register(credentials);
      }
      return undefined;
    } catch (error) {
      if (error instanceof TrelayStopped) {
        throw error;
      }
      if (error instanceof Refused) {
        return error.ending;
      }
      return { code: 1006, reason: describe(error) };
    }
  }

  async #register({ clientId, clientSecret }: { clientId: string; clientSecret: string }): Promise<string> {
    const headers = { "Client-Id": clientId, "Client-Secret": clientSecret };
    // A redirect is not followed: the secret would go to the address that the response names.
    const request = { method: "POST", headers, signal: this.#signal, redirect: "error" } as const;
    const response = await fetch(new URL("consumers", this.#base), request);
    if (!response.ok) {
      const ending = await refusal(response);
      if (ending.status === 401) {
        throw new TrelayStopped(`registration refused: ${ending.reason}`, 401);
      }
      throw new Refused(ending);
    }
    return ((await response.json()) as { token: string }).token;
  }

  /** Wait; go on at once when the browser is online again, or the signal aborts. */
  async #pause(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const target = typeof window === "undefined" ? undefined : window;
      const done = (): void => {
        clearTimeout(timer);
        target?.removeEventListener("online", done);
        this.#signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      target?.addEventListener("online", done);
      this.#signal.addEventListener("abort", done);
      if (this.#signal.aborted) {
        done();
      }
    });
  }
}

class Refused extends Error {
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(ending.reason);
    this.ending = ending;
  }
}

/** Ends a connection from which nothing arrives. A tab that was asleep notices when it wakes. */
class Watch {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #timer: ReturnType<typeof setInterval>;
  #timeout = FIRST_TIMEOUT;
  #heard = Date.now();

  constructor(outer: AbortSignal) {
    this.#outer = outer;
    outer.addEventListener("abort", this.#abort);
    this.#timer = setInterval(() => this.#check(), CHECKS);
    if (outer.aborted) {
      this.#abort();
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  alive(): void {
    this.#heard = Date.now();
  }

  /** Take the seconds within which the service sends something. */
  expect(heartbeat: number | undefined): void {
    this.#timeout = (heartbeat ?? 25) * MISSED_HEARTBEATS * 1000;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#outer.removeEventListener("abort", this.#abort);
    this.#controller.abort("stopped");
  }

  #check(): void {
    if (Date.now() - this.#heard > this.#timeout) {
      this.#controller.abort(`received nothing for ${this.#timeout / 1000} s`);
    }
  }

  readonly #abort = (): void => this.#controller.abort("aborted");
}
