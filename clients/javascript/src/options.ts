// What a subscription is asked for, and its query.

import type { Credentials } from "./authorization.js";
import { Channels } from "./channels.js";
import type { Sender } from "./sending.js";
import type { ResumeStore } from "./stores.js";

/** Characters of a message that cannot be read, in a warning. */
const SHOWN = 300;

export interface Options {
  credentials: Credentials;
  /** Channels or patterns; all that the client may read without them. Those of `Channels` change while it runs. */
  channels?: readonly string[] | Channels;
  /** Predicates over events, by a pattern of `channels`: `{"orders.*": "total > 100"}`. */
  filters?: Readonly<Record<string, string>>;
  /** Where the cursor is kept; in memory by default. */
  store?: ResumeStore;
  /** Where to begin without a cursor: `earliest`, a duration such as `15m`, or a time in RFC 3339; now by default. */
  since?: string;
  /** Whether to begin with the latest event of each subject, between two `trelay.snapshot` events; not with `since`. */
  snapshot?: boolean;
  /** A duration such as `500ms`: of the events of that time, only the latest one of each subject is received. */
  conflate?: string;
  /** Seconds: tells at most so often, by `trelay.watermark` events, up to when each source has been read. */
  watermarks?: number;
  /**
   * Whether to answer heartbeats, over a WebSocket: the service then finds out that a page is frozen, or that a program
   * does not run any more, also where the browser or a proxy answers pings for it.
   */
  answerHeartbeats?: boolean;
  /** `auto` takes a WebSocket where there is one, and event streams where nothing arrives over it. */
  transport?: "auto" | "websocket" | "sse";
  /** Sends messages over the connection, a WebSocket then, and receives the answers to them. */
  sender?: Sender;
  /** Ends the subscription. */
  signal?: AbortSignal;
  /** Told before each pause what happened, and the milliseconds until the next attempt. By default, a console warning. */
  onRetry?: (reason: string, pause: number) => void;
  /** Told of each message that is no JSON object; the ones behind it follow. By default, a warning on the console. */
  onUnreadable?: (text: string) => void;
  random?: () => number;
}

/** Return the query of a connection that resumes behind the cursor; one that is no WebSocket has only one way. */
export function queryOf(options: Options, cursor: string | undefined, oneWay: boolean): URLSearchParams {
  const query = new URLSearchParams({ heartbeat: options.answerHeartbeats === true && !oneWay ? "answer" : "event" });
  const { channels, filters } = asked(options);
  if (channels !== undefined) {
    query.set("channels", channels.join(","));
  }
  if (Object.keys(filters).length > 0) {
    query.set("filters", JSON.stringify(filters));
  }
  if (options.snapshot === true) {
    query.set("snapshot", "true"); // a cursor comes before it
  }
  if (options.conflate !== undefined) {
    query.set("conflate", options.conflate);
  }
  if (options.watermarks !== undefined) {
    query.set("watermarks", String(options.watermarks));
  }
  if (cursor !== undefined) {
    query.set("cursor", cursor);
  } else if (options.since !== undefined) {
    query.set("since", options.since);
  }
  return query;
}

function asked({ channels, filters = {} }: Options): { channels?: readonly string[]; filters: object } {
  if (channels instanceof Channels) {
    return { channels: channels.names, filters: Channels.changesOf(channels).filters };
  }
  return { filters, ...(channels === undefined ? {} : { channels }) };
}

/** Report a lost connection, where the program does not: nothing else tells that it waits. */
export function warnRetry(reason: string, pause: number): void {
  console.warn(`trelay: ${reason}; retrying in ${(pause / 1000).toFixed(1)} s`);
}

/** Report a message that cannot be read, where the program does not. */
export function warnUnreadable(text: string): void {
  console.warn(`trelay: skipping an unreadable message: ${text.slice(0, SHOWN)}`);
}
