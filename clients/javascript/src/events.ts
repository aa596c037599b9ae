/** A CloudEvent, as Trelay delivers it. */
export interface TrelayEvent {
  /** Where to resume after this event. Control events that do not move the stream have none. */
  cursor?: string;
  specversion: string;
  id: string;
  source: string;
  type: string;
  subject?: string;
  time?: string;
  channel?: string;
  data?: unknown;
  [attribute: string]: unknown;
}

const OWN = "/trelay";
const REMEMBERED = 10_000;

/** Whether an event is Trelay's own, such as `trelay.gap`. */
export function isControl(event: TrelayEvent): boolean {
  return event.source === OWN;
}

/** Return whether an event shows that the connection lives, and nothing else. */
export function isHeartbeat(event: TrelayEvent | undefined): event is TrelayEvent {
  return event !== undefined && isControl(event) && event.type === "trelay.heartbeat";
}

/** Recognises events that arrived before: `source` and `id` identify an event. */
export class Repeats {
  readonly #seen = new Set<string>();

  isRepeat(event: TrelayEvent): boolean {
    if (isControl(event)) {
      if (event.type === "trelay.snapshot" && (event.data as { phase?: string } | undefined)?.phase === "begin") {
        // The program forgets what it knows: events that it has received before are part of the state as well.
        this.#seen.clear();
      }
      return false;
    }
    const key = `${event.source}\n${event.id}`;
    if (this.#seen.has(key)) {
      return true;
    }
    this.#seen.add(key);
    if (this.#seen.size > REMEMBERED) {
      this.#seen.delete(this.#seen.values().next().value as string);
    }
    return false;
  }
}

/** Read an event; return undefined if the text is none. */
export function parseEvent(text: string): TrelayEvent | undefined {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" && found !== null && !Array.isArray(found) ? (found as TrelayEvent) : undefined;
  } catch {
    return undefined;
  }
}

/** Return the cursor of a frame that cannot be read: it comes first. */
export function cursorOf(text: string): string | undefined {
  return /^\{"cursor":"([A-Za-z0-9_-]+)"/.exec(text)?.[1];
}
