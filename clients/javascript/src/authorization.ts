// Gets a token or a ticket for a connection.

import { TrelayStopped, type Ending } from "./endings.js";
import { describe, refusal } from "./transports.js";

/** Who subscribes. Pages take `ticket`: a function that asks their own server for one. */
export type Credentials =
  | { ticket: () => Promise<string> }
  | { token: string }
  | { clientId: string; clientSecret: string };

const TIMEOUT = 20_000;
/** The form of a token (RFC 6750). */
const TICKET = /^[A-Za-z0-9._~+/=-]+$/;
const CONTROL = /[\0-\x1f\x7f]/;

/** Who subscribes, with the token of their connections. */
export class Authorization {
  /** For programs; pages have a ticket in the query. */
  token: string | undefined;
  readonly #credentials: Credentials;
  readonly #base: URL;
  readonly #signal: AbortSignal;

  constructor(credentials: Credentials, base: URL, signal: AbortSignal) {
    check(credentials);
    this.#credentials = credentials;
    this.#base = base;
    this.#signal = signal;
  }

  /** Get another token the next time. */
  renew(): void {
    this.token = undefined;
  }

  /** Get a token, or add a ticket to a query; return how that was refused, if it was. */
  async add(query: URLSearchParams): Promise<Ending | undefined> {
    const credentials = this.#credentials;
    try {
      if ("ticket" in credentials) {
        query.set("ticket", ticketIn(await inTime("ticket", this.#signal, () => credentials.ticket())));
      } else if ("token" in credentials) {
        this.token = credentials.token;
      } else {
        this.token ??= await inTime("token", this.#signal, (signal) => this.#register(credentials, signal));
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

  async #register(
    { clientId, clientSecret }: { clientId: string; clientSecret: string },
    signal: AbortSignal,
  ): Promise<string> {
    const headers = { "Client-Id": bytes(clientId), "Client-Secret": bytes(clientSecret) };
    // A redirect is not followed: the secret would go to the address that the response names.
    const request = { method: "POST", headers, signal, redirect: "manual" } as const;
    const response = await fetch(new URL("consumers", this.#base), request);
    if (!response.ok) {
      const ending = await refusal(response);
      if (ending.status === 401) {
        throw new TrelayStopped(`registration refused: ${ending.reason}`, 401);
      }
      throw new Refused(ending);
    }
    const { token } = (await response.json()) as { token?: unknown };
    if (typeof token !== "string") {
      throw new TypeError("found no token in the response of POST /consumers");
    }
    return token;
  }
}

/**
 * Return what `work` does, or throw if it takes too long, or `outer` aborts: `fetch` waits for minutes where nothing
 * answers.
 */
export async function inTime<Result>(
  what: string,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const ended = new AbortController();
  let late: (error: Error) => void = () => undefined;
  const lateness = new Promise<never>((_, reject) => {
    late = reject;
  });
  const end = (reason: string): void => {
    late(new Error(reason));
    ended.abort(reason);
  };
  const stop = (): void => end(String(outer.reason));
  const timer = setTimeout(() => end(`no ${what} within ${TIMEOUT / 1000} s`), TIMEOUT);
  outer.addEventListener("abort", stop);
  try {
    return await Promise.race([work(ended.signal), lateness]);
  } finally {
    clearTimeout(timer);
    outer.removeEventListener("abort", stop);
  }
}

/**
 * Return a ticket. What is none, such as the page of an error, is asked for again: the service would refuse it, which ends a
 * subscription.
 */
function ticketIn(found: unknown): string {
  const ticket = typeof found === "string" ? found.trim() : "";
  if (!TICKET.test(ticket)) {
    throw new TypeError(`found ${typeof found === "string" ? "another text" : typeof found} in place of a ticket`);
  }
  return ticket;
}

/** Check that credentials can be sent; the error holds nothing of them. */
function check(credentials: Credentials): void {
  for (const [name, value] of Object.entries(credentials)) {
    if (typeof value === "string" && CONTROL.test(value)) {
      throw new TypeError(`${name}: found a control character, such as the line feed that ends a file; expected none`);
    }
  }
}

/** Return a text whose characters are its bytes in UTF-8, as headers take them. */
function bytes(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

class Refused extends Error {
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(ending.reason);
    this.ending = ending;
  }
}
