// Sends messages over the connection of a subscription, and waits until each is stored.

import { Messages, TrelayUnanswered, type Receipt } from "./messages.js";

export interface SendOptions {
  /** 1 to 255 visible ASCII characters, so that another message with this id is the same one; a UUID by default. */
  id?: string;
  /** Milliseconds to wait for the acknowledgement; a minute by default. */
  timeout?: number;
}

/** What a program gives to one subscription at a time, and may wait for. */
export interface Attached {
  /** Whether something has no answer yet. */
  readonly waiting: boolean;
  attach(onWaiting: () => void): void;
  end(reason: string): void;
  detach(reason: string): void;
}

const ID = /^[!-~]{1,255}$/;
const AHEAD = 10_000;
const ENDED = "the subscription has ended";

/** Sends messages. Give it to `subscribe`, whose connection it uses. */
export class Sender {
  readonly #messages: Messages;

  /** At most `limit` messages of together `limitBytes` wait for their acknowledgement. */
  constructor({ limit = 1_000, limitBytes = 16 * 1024 * 1024 }: { limit?: number; limitBytes?: number } = {}) {
    this.#messages = new Messages(limit, limitBytes);
  }

  /**
   * Send bytes or anything that is JSON, and return once it is stored.
   *
   * Lost connections are survived: the message is sent again with its id, and stored once.
   *
   * @throws TrelayRejected if it is not stored, and would be rejected again.
   * @throws TrelayUnanswered if nothing is known in time, or the subscription has ended.
   * @throws TrelayQueueFull if too many messages wait; this one was not sent.
   */
  async send(data: unknown, { id = newId(), timeout = 60_000 }: SendOptions = {}): Promise<Receipt> {
    const text = encode(data, id);
    const size = new TextEncoder().encode(text).length;
    return await new Promise<Receipt>((resolve, reject) => {
      const message = {
        id,
        text,
        size,
        open: true,
        resolve: (receipt: Receipt): void => {
          clearTimeout(timer);
          resolve(receipt);
        },
        reject: (error: Error): void => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#messages.add(message);
      const timer = setTimeout(() => {
        this.#messages.withdraw(message);
        reject(new TrelayUnanswered(id, `no answer within ${timeout / 1000} s`));
      }, timeout);
    });
  }

  /** @internal What subscriptions take the messages from. */
  static messagesOf(sender: Sender): Messages {
    return sender.#messages;
  }
}

/**
 * Yield what `inner` yields, and read it ahead while one of `parts` waits: its answer comes behind other events, and a
 * lost connection has to be opened again while the program is busy. Items that are not `live` any more are dropped when the
 * room is needed; the program checks again. `stop` ends `inner`.
 */
export async function* readAhead<Item>(
  inner: AsyncGenerator<Item, void>,
  parts: readonly Attached[],
  stop: () => void,
  live: (item: Item) => boolean = () => true,
): AsyncGenerator<Item, void> {
  const ahead: { next: Promise<IteratorResult<Item, void>>; found?: Item }[] = [];
  let reading = false;
  const end = (reason: string): void => parts.forEach((part) => part.end(reason));
  const take = (): Promise<IteratorResult<Item, void>> => {
    const next = inner.next();
    next.then(
      ({ done }) => done === true && end(ENDED),
      (error: unknown) => end(`${ENDED}: ${(error as Error).message}`),
    );
    return next;
  };
  const hasRoom = (): boolean => {
    const dead = ({ found }: (typeof ahead)[number]): boolean => found !== undefined && !live(found);
    if (ahead.length >= AHEAD) {
      ahead.splice(0, ahead.length, ...ahead.filter((entry) => !dead(entry)));
    }
    return ahead.length < AHEAD;
  };
  const read = async (): Promise<void> => {
    if (reading) {
      return;
    }
    reading = true;
    try {
      while (parts.some(({ waiting }) => waiting) && hasRoom()) {
        const entry: (typeof ahead)[number] = { next: take() };
        ahead.push(entry);
        const { done, value } = await entry.next;
        if (done === true) {
          return;
        }
        entry.found = value as Item;
      }
    } catch {
      // The program gets the error when it takes this one.
    } finally {
      reading = false;
    }
  };
  const attached: Attached[] = [];
  try {
    for (const part of parts) {
      part.attach(() => void read());
      attached.push(part);
    }
    for (;;) {
      const { done, value } = await (ahead.shift()?.next ?? take());
      if (done === true) {
        return;
      }
      yield value as Item;
    }
  } finally {
    stop();
    await inner.return();
    attached.forEach((part) => part.detach(ENDED));
  }
}

function encode(data: unknown, id: string): string {
  if (!ID.test(id)) {
    throw new TypeError(`found the message id ${JSON.stringify(id)}; expected 1 to 255 visible ASCII characters`);
  }
  const bytes = bytesOf(data);
  if (bytes !== undefined) {
    const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
    return JSON.stringify({ type: "trelay.message", id, data_base64: btoa(text) });
  }
  if (JSON.stringify(data) === undefined) {
    throw new TypeError(`message ${id}: found ${typeof data}; expected bytes, or a value that is JSON`);
  }
  return JSON.stringify({ type: "trelay.message", id, data });
}

function bytesOf(data: unknown): Uint8Array | undefined {
  if (data instanceof ArrayBuffer) {
    return new Uint8Array(data);
  }
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : undefined;
}

/** Return a random id; `crypto.randomUUID` is missing in pages without TLS. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
