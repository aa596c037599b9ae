// Gets a token or a ticket for a connection.

import { TrelayStopped, type Ending } from "./endings.js";
import { describe, refusal } from "./transports.js";

/** Who subscribes. Pages take `ticket`: a function that asks their own server for one. */
export type Credentials =
  | { ticket: () => Promise<string> }
  | { token: string }
  | { clientId: string; clientSecret: string };

/** Who subscribes, with the token of their connections. */
export class Authorization {
  /** For programs; pages have a ticket in the query. */
  token: string | undefined;
  readonly #credentials: Credentials;
  readonly #base: URL;
  readonly #signal: AbortSignal;

  constructor(credentials: Credentials, base: URL, signal: AbortSignal) {
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
        query.set("ticket", await credentials.ticket());
      } else if ("token" in credentials) {
        this.token = credentials.token;
      } else {
        this.token ??= await this.#register(credentials);
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
    const request = { method: "POST", headers, signal: this.#signal, redirect: "manual" } as const;
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

class Refused extends Error {
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(ending.reason);
    this.ending = ending;
  }
}
