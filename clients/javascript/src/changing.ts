// Asks the service to change the channels of a connection.

import { inTime, type Authorization } from "./authorization.js";
import type { Answer, ChangeBody } from "./changes.js";
import { refusal } from "./transports.js";

/** Statuses after which the same request may be accepted; a token that is refused ends the connection. */
const PASSING = new Set([401, 408, 409, 425, 429]);

/** Return the answer to a request, and that it is to be sent again if there was none. */
export async function ask(
  base: URL,
  authorization: Authorization,
  signal: AbortSignal,
  body: ChangeBody,
): Promise<Answer> {
  try {
    const query = new URLSearchParams();
    if ((await authorization.add(query)) !== undefined) {
      return { wait: 0 };
    }
    return await inTime("answer", signal, (ended) => post(base, authorization.token, query, body, ended));
  } catch {
    return { wait: 0 };
  }
}

async function post(
  base: URL,
  token: string | undefined,
  query: URLSearchParams,
  body: ChangeBody,
  signal: AbortSignal,
): Promise<Answer> {
  const url = new URL("subscriptions", base);
  url.search = query.toString();
  const headers = {
    "Content-Type": "application/json",
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
  };
  // A redirect is not followed: the token would go to the address that the response names.
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal, redirect: "manual" });
  if (response.ok) {
    await response.body?.cancel();
    return { made: true };
  }
  const { status = 0, reason, wait = 0, problem } = await refusal(response);
  if (status >= 400 && status < 500 && !PASSING.has(status) && problem !== "not-connected") {
    return { refused: problem ?? String(status), detail: reason };
  }
  return { wait };
}
