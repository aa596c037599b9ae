// What has arrived and was not taken yet.

/** Hands over the texts that are put, in order; ends with a value. */
export class Queue<End> {
  readonly #items: string[] = [];
  #characters = 0;
  #end: { value: End } | undefined;
  #wake: (() => void) | undefined;

  get size(): number {
    return this.#items.length;
  }

  /** Those of everything that was not taken. */
  get characters(): number {
    return this.#characters;
  }

  put(item: string): void {
    if (this.#end === undefined) {
      this.#items.push(item);
      this.#characters += item.length;
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
    this.#characters = 0;
    this.end(value);
  }

  async *take(): AsyncGenerator<string, End> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        this.#characters -= item.length;
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
