// Decides which channels a subscription asks for, and what becomes of each change. No I/O.
//
// A change holds once the service has made it on the living connection: from then on, each further connection asks for the
// changed channels. One that was not answered when a connection ended is asked for again on the next one.

import { isControl, type TrelayEvent } from "./events.js";
import { pause } from "./watch.js";

/** The channels were not changed, and the same change would be refused again. */
export class TrelayChangeRefused extends Error {
  override readonly name = "TrelayChangeRefused";
  /** What is wrong: `channel-not-permitted`, or another code of the service. */
  readonly code: string;

  constructor(code: string, detail: string) {
    super(`change of channels refused: ${detail} (${code})`);
    this.code = code;
  }
}

/** The subscription has ended; the channels may be changed or not. */
export class TrelayChangeUnanswered extends Error {
  override readonly name = "TrelayChangeUnanswered";

  constructor(reason: string) {
    super(`change of channels was not acknowledged: ${reason}`);
  }
}

/** Predicates by channel or pattern; null removes one. */
export type Filters = Readonly<Record<string, string | null>>;

/** What a request to change the channels of a connection says. */
export interface ChangeBody {
  connection: string;
  subscribe: readonly string[];
  unsubscribe: readonly string[];
  filters: Filters;
}

/** The answer to such a request: it is made, refused, or to be asked for again after some seconds. */
export type Answer = { made: true } | { refused: string; detail: string } | { wait: number };

type Names = ReadonlyMap<string, string | undefined>;

interface Change {
  subscribe: readonly string[];
  unsubscribe: readonly string[];
  filters: Filters;
  resolve: () => void;
  reject: (error: Error) => void;
}

interface Connection {
  id: string;
  ask: (body: ChangeBody) => Promise<Answer>;
  signal: AbortSignal;
}

/** Characters of the channels in a URL; the service takes 65,000 with all parameters. */
const LIST_LIMIT = 60_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;

/** The changes of one subscription, across all its connections. */
export class Changes {
  #names: Names;
  #pending: Change[] = [];
  #connection: Connection | undefined;
  #asked = false;
  #working = false;
  #onWaiting: (() => void) | undefined;
  #ended: string | undefined;

  constructor(channels: readonly string[], filters: Readonly<Record<string, string>>) {
    check(channels, filters);
    const problem = problemOf(channels);
    if (problem !== undefined) {
      throw new TypeError(problem);
    }
    this.#names = new Map(channels.map((name) => [name, filters[name]]));
  }

  get names(): Names {
    return this.#names;
  }

  /** The predicates of the next connection. */
  get filters(): Record<string, string> {
    return Object.fromEntries([...this.#names].filter((each): each is [string, string] => each[1] !== undefined));
  }

  /** Whether a change has no answer yet. */
  get waiting(): boolean {
    return this.#pending.length > 0;
  }

  /** Belong to a subscription. `onWaiting` is called when a change is added, and when one waits for another connection. */
  attach(onWaiting: () => void): void {
    if (this.#onWaiting !== undefined) {
      throw new TypeError("the channels belong to another subscription; expected channels of its own for each");
    }
    this.#onWaiting = onWaiting;
    this.#ended = undefined;
    if (this.waiting) {
      onWaiting();
    }
  }

  /** End the subscription: what has no answer is reported, and what is added. */
  end(reason: string): void {
    this.#ended ??= reason;
    this.disconnected();
    for (const change of this.#pending.splice(0)) {
      change.reject(new TrelayChangeUnanswered(reason));
    }
  }

  /** Leave the subscription, as `end` does; what is added waits for the next one. */
  detach(reason: string): void {
    this.end(reason);
    this.#onWaiting = undefined;
    this.#ended = undefined;
  }

  /** Add a change, which is made after those before; return once it is. */
  async add(subscribe: readonly string[], unsubscribe: readonly string[], filters: Filters): Promise<void> {
    check([...subscribe, ...unsubscribe], {});
    check(subscribe.length > 0 ? subscribe : unsubscribe, filters);
    const ended = this.#ended;
    if (ended !== undefined) {
      throw new TrelayChangeUnanswered(ended);
    }
    await new Promise<void>((resolve, reject) => {
      this.#pending.push({ subscribe, unsubscribe, filters, resolve, reject });
      this.#onWaiting?.();
      void this.#work();
    });
  }

  /** Begin a connection with this id; `signal` aborts at its end. */
  connected(id: string, signal: AbortSignal, ask: (body: ChangeBody) => Promise<Answer>): void {
    this.#connection = { id, ask, signal };
    void this.#work();
  }

  /** End a connection: what it has not answered is asked for again on the next one. */
  disconnected(): void {
    this.#connection = undefined;
    this.#asked = false;
    if (this.waiting && this.#ended === undefined) {
      this.#onWaiting?.();
    }
  }

  /**
   * Take a control event: one that tells what the connection receives now may come before the answer.
   *
   * The events of the channel follow it, so a connection that is lost before the answer is followed by one that asks for
   * the channel as well.
   */
  received(event: TrelayEvent): void {
    const change = this.#pending[0];
    if (change === undefined || !this.#asked || !isControl(event) || event.type !== "trelay.subscribed") {
      return;
    }
    const { channels = [], reason } = (event.data ?? {}) as { channels?: readonly string[]; reason?: string };
    const has = (name: string): boolean => channels.includes(name);
    if (reason === "requested" && change.subscribe.every(has) && !change.unsubscribe.some(has)) {
      this.#made(change);
    }
  }

  /** Ask for one change after the other, on one connection after the other. */
  async #work(): Promise<void> {
    if (this.#working) {
      return;
    }
    this.#working = true;
    let failures = 0;
    try {
      for (;;) {
        const [change, connection] = [this.#pending[0], this.#connection];
        if (change === undefined || connection === undefined) {
          return;
        }
        const problem = problemOf([...changed(this.#names, change).keys()]);
        if (problem !== undefined) {
          this.#take(change)?.reject(new TypeError(problem));
          continue;
        }
        this.#asked = true;
        const { subscribe, unsubscribe, filters } = change;
        const answer = await connection.ask({ connection: connection.id, subscribe, unsubscribe, filters });
        if ("made" in answer) {
          this.#made(change);
        } else if ("refused" in answer) {
          this.#take(change)?.reject(new TrelayChangeRefused(answer.refused, answer.detail));
        } else {
          await pause(Math.max(answer.wait * 1000, Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures)), connection.signal);
          failures += 1;
          continue;
        }
        failures = 0;
      }
    } finally {
      this.#working = false;
    }
  }

  #made(change: Change): void {
    if (this.#pending[0] === change) {
      this.#names = changed(this.#names, change);
      this.#take(change)?.resolve();
    }
  }

  /** Return a change that is still the first one, and forget it. */
  #take(change: Change): Change | undefined {
    if (this.#pending[0] !== change) {
      return undefined;
    }
    this.#asked = false;
    return this.#pending.shift();
  }
}

/** Return why a connection could not be resumed with these channels, if it could not. */
function problemOf(names: readonly string[]): string | undefined {
  if (names.length === 0) {
    return "found no channel that is left; expected one at least, such as '**' for all"; // it would be one of all channels
  }
  const size = encodeURIComponent(names.join(",")).length;
  return size > LIST_LIMIT ? `found channels of ${size} characters in a URL; expected at most ${LIST_LIMIT}` : undefined;
}

/** Return channels after a change. */
function changed(names: Names, { subscribe, unsubscribe, filters }: Change): Names {
  const after = new Map(names);
  for (const name of subscribe) {
    after.set(name, names.get(name));
  }
  for (const [name, filter] of Object.entries(filters)) {
    after.set(name, filter ?? undefined);
  }
  for (const name of unsubscribe) {
    after.delete(name);
  }
  return after;
}

function check(channels: readonly string[], filters: Filters): void {
  if (channels.length === 0) {
    throw new TypeError("found no channel; expected one at least, such as '**' for all that the client may read");
  }
  for (const name of channels) {
    if (name === "" || name.includes(",") || name !== name.trim()) {
      throw new TypeError(`found ${JSON.stringify(name)}; expected the name of a channel, or a pattern such as 'orders.*'`);
    }
  }
  for (const name of Object.keys(filters)) {
    if (!channels.includes(name)) {
      throw new TypeError(`filter of ${JSON.stringify(name)}: expected the same pattern among the channels`);
    }
  }
}
