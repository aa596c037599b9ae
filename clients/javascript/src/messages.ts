// Decides which messages a connection sends, and what becomes of each. No I/O.
//
// Each message has an id, with which the relay stores it once. What was not acknowledged when a connection ended is sent
// again over the next one, in the same order.

import { isControl, type TrelayEvent } from "./events.js";

/** A message that is stored. */
export interface Receipt {
  id: string;
  /** The id of its event on the inbound topic. */
  event: string;
}

/** A message was not stored, and the same one would be rejected again. */
export class TrelayRejected extends Error {
  override readonly name = "TrelayRejected";
  readonly id: string;
  /** What is wrong: `may-not-send`, `too-large`, or a code of the service. */
  readonly code: string;

  constructor(id: string, code: string, detail: string) {
    super(`message ${id} rejected: ${detail} (${code})`);
    this.id = id;
    this.code = code;
  }
}

/** A message may be stored or not. Sent again with the same id, it is stored once. */
export class TrelayUnanswered extends Error {
  override readonly name = "TrelayUnanswered";
  readonly id: string;

  constructor(id: string, reason: string) {
    super(`message ${id} was not acknowledged: ${reason}; send it again with the same id`);
    this.id = id;
  }
}

/** The queue of unacknowledged messages is full. This message was not sent. */
export class TrelayQueueFull extends Error {
  override readonly name = "TrelayQueueFull";
}

/** One message, until it is acknowledged, rejected or withdrawn. */
export interface Message {
  readonly id: string;
  readonly text: string;
  /** Bytes of the text. */
  readonly size: number;
  open: boolean;
  resolve: (receipt: Receipt) => void;
  reject: (error: Error) => void;
}

/** The messages of one sender, across all connections of its subscription. */
export class Messages {
  readonly #limit: number;
  readonly #limitBytes: number;
  #unsent: Message[] = [];
  readonly #sent = new Map<number, Message>();
  #number = 0;
  #count = 0;
  #bytes = 0;
  #connection: { largest: number | undefined; send: (text: string) => void } | undefined;
  #onWaiting: (() => void) | undefined;
  #ended: string | undefined;

  constructor(limit: number, limitBytes: number) {
    this.#limit = limit;
    this.#limitBytes = limitBytes;
  }

  /** Whether a message waits for its acknowledgement. */
  get waiting(): boolean {
    return this.#count > 0;
  }

  /** Belong to a subscription. `onWaiting` is called when a message is added, and when one waits for another connection. */
  attach(onWaiting: () => void): void {
    if (this.#onWaiting !== undefined) {
      throw new TypeError("the sender belongs to another subscription; expected a sender for each");
    }
    this.#onWaiting = onWaiting;
    this.#ended = undefined;
    if (this.waiting) {
      onWaiting();
    }
  }

  /** End the subscription: what is not acknowledged is reported, and what is added. */
  end(reason: string): void {
    this.#ended ??= reason;
    this.disconnected();
    for (const message of this.#unsent.splice(0)) {
      this.#fail(message, new TrelayUnanswered(message.id, reason));
    }
  }

  /** Leave the subscription, as `end` does; what is added waits for the next one. */
  detach(reason: string): void {
    this.end(reason);
    this.#onWaiting = undefined;
    this.#ended = undefined;
  }

  /**
   * Add a message, and send it if there is a connection.
   *
   * @throws TrelayQueueFull, TrelayRejected, TrelayUnanswered if it cannot be sent.
   */
  add(message: Message): void {
    if (this.#count >= this.#limit || this.#bytes + message.size > this.#limitBytes) {
      throw new TrelayQueueFull(
        `${this.#count} messages of ${this.#bytes} bytes wait for their acknowledgement; expected at most ` +
          `${this.#limit} messages of ${this.#limitBytes} bytes: send more when some are acknowledged`,
      );
    }
    if (this.#ended !== undefined) {
      throw new TrelayUnanswered(message.id, this.#ended);
    }
    const refused = this.#refused(message);
    if (refused !== undefined) {
      throw refused;
    }
    this.#count += 1;
    this.#bytes += message.size;
    this.#unsent.push(message);
    this.#send();
    this.#onWaiting?.();
  }

  /** Do not send a message again: its sender does not wait any more. */
  withdraw(message: Message): void {
    this.#close(message);
  }

  /** Begin a connection; `largest` is the bytes of a message that the relay takes, undefined if none may be sent. */
  connected(largest: number | undefined, send: (text: string) => void): void {
    this.#connection = { largest, send };
    this.#number = 0;
    for (const message of this.#unsent) {
      const refused = this.#refused(message);
      if (refused !== undefined) {
        this.#fail(message, refused);
      }
    }
    this.#send();
  }

  /** End a connection: what it has not acknowledged is sent again over the next one. */
  disconnected(): void {
    this.#connection = undefined;
    this.#unsent = [...this.#sent.values(), ...this.#unsent].filter((message) => message.open);
    this.#sent.clear();
    if (this.waiting && this.#ended === undefined) {
      this.#onWaiting?.();
    }
  }

  /** Handle an event; return whether it is the answer to a message. */
  received(event: TrelayEvent): boolean {
    const accepted = event.type === "trelay.accepted";
    if (!isControl(event) || (!accepted && event.type !== "trelay.rejected")) {
      return false;
    }
    const data = event.data as { message: number; event: string; code: string; detail: string };
    const message = this.#sent.get(data.message);
    if (message === undefined) {
      return false;
    }
    this.#sent.delete(data.message);
    if (!accepted) {
      this.#fail(message, new TrelayRejected(message.id, data.code, data.detail));
    } else if (this.#close(message)) {
      message.resolve({ id: message.id, event: data.event });
    }
    return true;
  }

  #send(): void {
    while (this.#connection !== undefined && this.#unsent.length > 0) {
      const message = this.#unsent.shift() as Message;
      if (message.open) {
        this.#number += 1;
        this.#sent.set(this.#number, message);
        this.#connection.send(message.text);
      }
    }
  }

  #refused({ id, size }: Message): TrelayRejected | undefined {
    if (this.#connection === undefined) {
      return undefined;
    }
    const { largest } = this.#connection;
    if (largest === undefined) {
      const detail = "the client may not send; expected the permission to send (`trelay clients set ID --may-send`)";
      return new TrelayRejected(id, "may-not-send", detail);
    }
    const detail = `found ${size} bytes; expected at most ${largest}, with the id and the form around it`;
    return size > largest ? new TrelayRejected(id, "too-large", detail) : undefined;
  }

  #fail(message: Message, error: Error): void {
    if (this.#close(message)) {
      message.reject(error);
    }
  }

  #close(message: Message): boolean {
    const wasOpen = message.open;
    message.open = false;
    if (wasOpen) {
      this.#count -= 1;
      this.#bytes -= message.size;
    }
    return wasOpen;
  }
}
