// Decides when an event stream replaces WebSockets, and when a WebSocket is tried again. No I/O.

const FAILED_SOCKETS = 2;
/** The first code that the service closes with; below are those of whatever is on the path. */
const SERVICE_CODES = 4000;
const MOST_STREAMS = 64;

/**
 * What a subscription connects over.
 *
 * A network that takes no WebSockets often lets each attempt wait for seconds, and some end each event stream after a minute.
 * So each WebSocket that fails between two event streams that work is followed by twice as many of them.
 */
export class Fallback {
  /** WebSockets, one after the other, over which nothing has arrived. */
  #failedSockets = 0;
  /** Event streams that have worked since the last WebSocket. */
  #streams = 0;
  #enough = 1;

  /** Whether the next connection is an event stream. */
  get streams(): boolean {
    return this.#failedSockets >= FAILED_SOCKETS;
  }

  /** Note how a WebSocket ended; `worked` is whether an event has arrived over it. */
  socketEnded(worked: boolean, code: number): void {
    if (worked || code >= SERVICE_CODES) {
      this.reset();
      return;
    }
    this.#failedSockets += 1;
    if (this.#streams > 0) {
      this.#enough = Math.min(this.#enough * 2, MOST_STREAMS);
    }
    this.#streams = 0;
  }

  /** Note that an event stream has ended; `worked` is whether an event has arrived over it. */
  streamEnded(worked: boolean): void {
    if (!worked) {
      this.reset(); // neither works: the service may be away, or the network
      return;
    }
    this.#streams += 1;
    if (this.#streams >= this.#enough) {
      this.#failedSockets = FAILED_SOCKETS - 1; // the network may be another one now: one attempt
    }
  }

  /** Begin with WebSockets. */
  reset(): void {
    this.#failedSockets = 0;
    this.#streams = 0;
    this.#enough = 1;
  }
}
