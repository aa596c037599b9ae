// Notices that nothing arrives any more, and waits.

const MISSED_HEARTBEATS = 2.5;
const FIRST_TIMEOUT = 20_000;
const CHECKS = 1_000;

/**
 * Measures how long ago something was. The clock may be set back, and the monotonic time of many browsers stands still
 * while the machine sleeps: the longer of the two counts.
 */
export class Elapsed {
  readonly #clock = Date.now();
  readonly #steady = performance.now();

  get milliseconds(): number {
    return Math.max(Date.now() - this.#clock, performance.now() - this.#steady);
  }
}

/** Wait; go on at once when the browser is online again, or the signal aborts. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const target = typeof window === "undefined" ? undefined : window;
    const done = (): void => {
      clearTimeout(timer);
      target?.removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    target?.addEventListener("online", done);
    signal.addEventListener("abort", done);
    if (signal.aborted) {
      done();
    }
  });
}

/** Ends a connection from which nothing arrives. A tab that was asleep notices when it wakes. */
export class Watch {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #timer: ReturnType<typeof setInterval>;
  #timeout = FIRST_TIMEOUT;
  #heard = new Elapsed();

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

  /** Whether the connection is open. Until it is lost, no other tab or program of the client has one. */
  get live(): boolean {
    this.#check(); // a tab that was asleep takes events before its timers run
    return !this.signal.aborted;
  }

  alive(): void {
    this.#heard = new Elapsed();
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
    if (this.#heard.milliseconds > this.#timeout) {
      this.#controller.abort(`received nothing for ${this.#timeout / 1000} s`);
    }
  }

  readonly #abort = (): void => this.#controller.abort("aborted");
}
