// Decides what a subscriber does after the end of a connection. No I/O: time and chance are passed in.
//
// Close codes 4000 to 4499 mean: reconnect, after the wait that the reason names. 4500 to 4999 mean: do not reconnect
// until something has changed; a token that was refused or has expired changes by getting another one.

/** How a connection, or an attempt, ended. */
export interface Ending {
  /** The close code; 1006 if there was none. */
  code: number;
  reason: string;
  /** The HTTP status of a refusal. */
  status?: number;
  /** The code of a refusal; undefined if something in front of the service has refused, such as a proxy. */
  problem?: string;
  /** Seconds that the service asks to wait. */
  wait?: number;
  /** Milliseconds for which the connection was open; undefined if it never was. */
  openFor?: number;
}

/** What to do next. */
export interface Next {
  /** Milliseconds to wait before the next attempt. */
  pause: number;
  /** Whether the token is of no use any more. */
  renew: boolean;
  reason: string;
}

/** The subscription has ended, and reconnecting would end it in the same way. */
export class TrelayStopped extends Error {
  override readonly name = "TrelayStopped";
  /** The close code, or the HTTP status of a refusal. */
  readonly code: number;

  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }
}

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
/** What a timer takes at most; a longer one would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;
const STABLE = 10_000;
const TOKEN_CODES = new Set([4505, 4506]);
const PROTOCOL_CODES = new Set([1002, 1003, 1007, 1009, 1010]);
const RETRIED_STATUSES = new Set([408, 409, 425, 429]);

/** Decides about reconnections, one after the other. */
export class Endings {
  #ceiling = FIRST_PAUSE;
  #renewed = false;
  #accepted = false;
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Note that the service has accepted the connection. */
  connected(): void {
    this.#renewed = false;
    this.#accepted = true;
  }

  /**
   * Return what to do after an ending. `renewable` says whether another token can be had.
   *
   * @throws TrelayStopped if the client must not reconnect.
   */
  next(ending: Ending, renewable: boolean): Next {
    const text = ending.status === undefined ? `closed with ${ending.code}` : `refused with ${ending.status}`;
    const reason = ending.reason === "" ? text : `${text}: ${ending.reason}`;
    const token = ending.status === 401 || TOKEN_CODES.has(ending.code);
    const renew = token && renewable && !this.#renewed;
    // A proxy that has lost its route or its rules for a while, as in an upgrade: the address was right before.
    const passing = this.#accepted && ending.status !== undefined && ending.problem === undefined;
    if (renew) {
      this.#renewed = true;
    } else if (!passing && (token || this.#final(ending))) {
      throw new TrelayStopped(reason, ending.status ?? ending.code);
    }
    if ((ending.openFor ?? 0) >= STABLE) {
      this.#ceiling = FIRST_PAUSE;
    }
    const pause = this.#random() * this.#ceiling;
    this.#ceiling = Math.min(this.#ceiling * 2, LONGEST_PAUSE);
    // Longer than the wait by chance: all subscribers of a replica that drains may have the same one.
    const wait = (ending.wait ?? 0) * 1000 * (1 + this.#random() / 2);
    return { pause: Math.min(Math.max(pause, wait), LONGEST_TIMER), renew, reason };
  }

  #final({ code, status }: Ending): boolean {
    if (status !== undefined) {
      return status < 500 && !RETRIED_STATUSES.has(status);
    }
    return (code >= 4500 && code < 5000) || PROTOCOL_CODES.has(code);
  }
}

/** Return the seconds that a reason names: `draining; wait=2.5`. */
export function waitOf(reason: string): number | undefined {
  const found = /; wait=(\d{1,6}(?:\.\d{1,6})?)$/.exec(reason);
  return found?.[1] === undefined ? undefined : Number(found[1]);
}
