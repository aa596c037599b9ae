// What has arrived and was not taken yet.

/** Hands over what is put, in order; ends with a value. */
export class Queue<Item, End> {
  readonly #items: Item[] = [];
  #end: { value: End } | undefined;
  #wake: (() => void) | undefined;

  get size(): number {
    return this.#items.length;
  }

  put(item: Item): void {
    if (this.#end === undefined) {
      this.#items.push(item);
      this.#wake?.();
    }
  }

  /** Add nothing more. The first end counts; what was put before is taken first. */
  end(value: End): void {
    this.#end ??= { value };
    this.#wake?.();
  }

  /** Add nothing more, and drop what was not taken. */
  cut(value: End): void {
    this.#items.length = 0;
    this.end(value);
  }

  async *take(): AsyncGenerator<Item, End> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        yield item;
      } else if (this.#end !== undefined) {
        return this.#end.value;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }
}
