// Subscribes to Trelay: yields every event once, across reconnections.

import { Authorization } from "./authorization.js";
import type { Changes } from "./changes.js";
import { ask } from "./changing.js";
import { Channels } from "./channels.js";
import { Endings, type Ending } from "./endings.js";
import { cursorOf, isControl, isHeartbeat, parseEvent, Repeats, type TrelayEvent } from "./events.js";
import { Fallback } from "./fallback.js";
import type { Messages } from "./messages.js";
import { queryOf, warnRetry, warnUnreadable, type Options } from "./options.js";
import { readAhead, Sender, type Attached } from "./sending.js";
import { memoryStore, type ResumeStore } from "./stores.js";
import { overEventStream, overWebSocket, type Attempt, type Transport } from "./transports.js";
import { pause, Watch } from "./watch.js";

export type { Credentials } from "./authorization.js";
export { TrelayChangeRefused, TrelayChangeUnanswered, type Filters } from "./changes.js";
export { Channels } from "./channels.js";
export { TrelayStopped } from "./endings.js";
export { isControl, type TrelayEvent } from "./events.js";
export { TrelayQueueFull, TrelayRejected, TrelayUnanswered, type Receipt } from "./messages.js";
export type { Options } from "./options.js";
export { Sender, type SendOptions } from "./sending.js";
export { fileStore, localStorageStore, memoryStore, type ResumeStore } from "./stores.js";

const ANSWERS = /"trelay\.(?:connected|accepted|rejected)"/;

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

/** A message, with the connection that has received it. */
interface Received {
  text: string;
  /** Undefined if it cannot be read. */
  event: TrelayEvent | undefined;
  connection: Watch;
}

class Subscription {
  readonly #base: URL;
  readonly #options: Options;
  readonly #store: ResumeStore;
  readonly #endings: Endings;
  readonly #authorization: Authorization;
  readonly #repeats = new Repeats();
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #messages: Messages | undefined;
  readonly #changes: Changes | undefined;
  /** Behind the last event that was handed to the program. */
  #cursor: string | undefined;
  /** What the store holds, unless another tab has gone on. */
  #saved: string | undefined;
  /** The last use of the store: one follows the other. */
  #storing: Promise<unknown> = Promise.resolve();
  readonly #fallback = new Fallback();
  /** Whether the last connection has received its first event. */
  #connected = false;

  constructor(url: string | URL, options: Options) {
    this.#base = new URL(url);
    if (!this.#base.pathname.endsWith("/")) {
      this.#base.pathname += "/";
    }
    this.#options = options;
    this.#store = options.store ?? memoryStore();
    this.#endings = new Endings(options.random ?? Math.random);
    this.#signal = this.#stop.signal;
    options.signal?.addEventListener("abort", () => this.#stop.abort("aborted"), { signal: this.#signal });
    if (options.signal?.aborted === true) {
      this.#stop.abort("aborted");
    }
    if (typeof window !== "undefined") {
      window.addEventListener("online", () => this.#fallback.reset(), { signal: this.#signal });
    }
    this.#authorization = new Authorization(options.credentials, this.#base, this.#signal);
    this.#messages = options.sender === undefined ? undefined : Sender.messagesOf(options.sender);
    this.#changes = options.channels instanceof Channels ? Channels.changesOf(options.channels) : undefined;
    if (this.#changes !== undefined && options.filters !== undefined) {
      throw new TypeError("filters: found beside channels that have their own; expected `new Channels(…, filters)`");
    }
    if (this.#messages !== undefined && (options.transport === "sse" || typeof WebSocket === "undefined")) {
      throw new TypeError("found a sender without WebSockets; expected the transport `auto` or `websocket`, and Node 22");
    }
  }

  /**
   * Yield every event once, and save the cursor of each when the next one is asked for.
   *
   * What a lost connection has received is dropped: another tab may receive it meanwhile. The next connection begins
   * behind the last event that was yielded.
   */
  async *events(): AsyncGenerator<TrelayEvent, void> {
    const received = this.#received();
    const parts = [this.#messages, this.#changes].filter((part) => part !== undefined);
    const found = parts.length === 0 ? received : this.#ahead(received, parts);
    for await (const { text, event, connection } of found) {
      if (!connection.live) {
        continue;
      }
      const cursor = event === undefined ? cursorOf(text) : event.cursor;
      const before = this.#saved;
      this.#cursor = cursor ?? this.#cursor;
      if (event === undefined) {
        (this.#options.onUnreadable ?? warnUnreadable)(text);
      } else if (!isHeartbeat(event) && !this.#repeats.isRepeat(event)) {
        yield event;
      }
      await this.#processed(cursor, before, connection);
    }
  }

  #ahead(received: AsyncGenerator<Received, void>, parts: readonly Attached[]): AsyncGenerator<Received, void> {
    const stop = (): void => this.#stop.abort("closed");
    return readAhead(received, parts, stop, ({ connection }) => connection.live);
  }

  async *#received(): AsyncGenerator<Received, void> {
    while (!this.#signal.aborted) {
      // Each time: another tab may have gone on meanwhile.
      if (await this.#goneOn()) {
        this.#cursor = this.#saved;
      }
      const ending = yield* this.#attempt();
      if (this.#signal.aborted) {
        return;
      }
      const next = this.#endings.next(ending, !("token" in this.#options.credentials));
      if (next.renew) {
        this.#authorization.renew();
      }
      (this.#options.onRetry ?? warnRetry)(next.reason, next.pause);
      await pause(next.pause, this.#signal);
    }
  }

  async *#attempt(): AsyncGenerator<Received, Ending> {
    const transport = this.#transport();
    const query = queryOf(this.#options, this.#cursor, transport !== overWebSocket);
    const refused = await this.#authorization.add(query);
    if (refused !== undefined) {
      return refused;
    }
    const watch = new Watch(this.#signal);
    watch.signal.addEventListener("abort", () => {
      this.#messages?.disconnected();
      this.#changes?.disconnected();
    });
    const attempt = {
      base: this.#base,
      query,
      token: this.#authorization.token,
      signal: watch.signal,
      onAlive: () => watch.alive(),
      onEnd: () => watch.stop(),
      answers: this.#options.answerHeartbeats === true,
      ...this.#sending(),
    };
    try {
      this.#connected = false;
      const ending = yield* this.#read(transport(attempt), watch);
      if (transport === overWebSocket) {
        this.#fallback.socketEnded(this.#connected, ending.code);
      } else {
        this.#fallback.streamEnded(this.#connected);
      }
      return ending;
    } finally {
      watch.stop();
    }
  }

  async *#read(texts: AsyncGenerator<string, Ending>, connection: Watch): AsyncGenerator<Received, Ending> {
    try {
      for (;;) {
        const found = await texts.next();
        if (found.done === true) {
          return found.value;
        }
        const text = found.value;
        const event = parseEvent(text);
        if (isHeartbeat(event) && event.cursor === undefined) {
          continue;
        }
        if (event?.source === "/trelay" && event.type === "trelay.connected") {
          this.#endings.connected();
          this.#connected = true;
          // Only now no other tab has the connection: what it has processed since the cursor was read must not come again.
          if (await this.#goneOn()) {
            this.#cursor = this.#saved;
            return { code: 1006, reason: "another tab or program has gone on; resuming from its cursor" };
          }
          connection.expect((event.data as { heartbeat?: number } | undefined)?.heartbeat);
          this.#cursor ??= event.cursor; // the stream has begun here, even if the connection is lost at once
          this.#change((event.data as { connection?: string }).connection, connection.signal);
        } else if (event !== undefined) {
          this.#changes?.received(event);
        }
        yield { text, event, connection };
      }
    } finally {
      await texts.return({ code: 1000, reason: "" });
    }
  }

  /** Change the channels of a connection from now on. */
  #change(id: string | undefined, signal: AbortSignal): void {
    if (id !== undefined && !signal.aborted) {
      this.#changes?.connected(id, signal, (body) => ask(this.#base, this.#authorization, signal, body));
    }
  }

  /**
   * Save the cursor of a processed event.
   *
   * Where its connection was lost meanwhile, another tab may have gone on. The store then holds another cursor than
   * `before`, the one when the event was yielded, and keeps it.
   */
  async #processed(cursor: string | undefined, before: string | undefined, connection: Watch): Promise<void> {
    if (cursor !== undefined) {
      await this.#inTurn(async () => {
        const kept = connection.live ? before : await this.#store.load();
        if (kept === undefined || kept === before) {
          await this.#store.save(cursor);
          this.#saved = cursor;
        }
      });
    }
  }

  /** Return whether the store holds another cursor than the one that was saved, which `#saved` is then. */
  async #goneOn(): Promise<boolean> {
    return await this.#inTurn(async () => {
      const kept = await this.#store.load();
      const goneOn = kept !== undefined && kept !== this.#saved;
      this.#saved = kept ?? this.#saved;
      return goneOn;
    });
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const next = this.#storing.then(work);
    this.#storing = next.catch(() => undefined);
    return next;
  }

  /** What a connection needs to send messages: their answers arrive before the events that the program has not taken. */
  #sending(): Pick<Attempt, "intercept"> {
    const messages = this.#messages;
    if (messages === undefined) {
      return {};
    }
    return {
      intercept: (text, send) => {
        const event = ANSWERS.test(text) ? parseEvent(text) : undefined;
        if (event === undefined || !isControl(event)) {
          return false;
        }
        if (event.type === "trelay.connected") {
          messages.connected((event.data as { largest_message?: number }).largest_message, send);
        }
        return messages.received(event);
      },
    };
  }

  #transport(): Transport {
    if (this.#messages !== undefined) {
      return overWebSocket;
    }
    switch (this.#options.transport ?? "auto") {
      case "websocket":
        return overWebSocket;
      case "sse":
        return overEventStream;
      default:
        return typeof WebSocket === "undefined" || this.#fallback.streams ? overEventStream : overWebSocket;
    }
  }
}
