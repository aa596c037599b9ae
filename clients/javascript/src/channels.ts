// The channels of a subscription, which change while it runs.

import { Changes, type Filters } from "./changes.js";

/** The channels of one subscription. Give them to `subscribe`. */
export class Channels {
  readonly #changes: Changes;

  /** Begin with some channels or patterns, and predicates over the events of some of them. */
  constructor(channels: readonly string[], filters: Readonly<Record<string, string>> = {}) {
    this.#changes = new Changes(channels, filters);
  }

  /** The channels and patterns that the subscription receives. */
  get names(): string[] {
    return [...this.#changes.names.keys()];
  }

  /**
   * Receive these channels as well, and return once their events come: none from then on is missing.
   *
   * Without a connection, it waits for the next one.
   *
   * @throws TrelayChangeRefused if the client may not read a channel, a name or a filter is invalid, or there are too many.
   * @throws TrelayChangeUnanswered if the subscription has ended.
   */
  async subscribe(channels: string | readonly string[], { filters = {} }: { filters?: Filters } = {}): Promise<void> {
    await this.#changes.add(listOf(channels), [], filters);
  }

  /**
   * Receive these channels no more, and return once no further event of them is sent. Those sent before may still come.
   *
   * @throws TypeError if no channel would be left; and what `subscribe` throws.
   */
  async unsubscribe(channels: string | readonly string[]): Promise<void> {
    await this.#changes.add([], listOf(channels), {});
  }

  /** @internal What subscriptions take the changes from. */
  static changesOf(channels: Channels): Changes {
    return channels.#changes;
  }
}

function listOf(channels: string | readonly string[]): readonly string[] {
  return typeof channels === "string" ? [channels] : [...channels];
}
