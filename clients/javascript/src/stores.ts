/** Keeps the cursor of a subscription, so that another run resumes from it. */
export interface ResumeStore {
  load(): Promise<string | undefined> | string | undefined;
  /** Called after an event was processed. */
  save(cursor: string): Promise<void> | void;
}

/** Keep the cursor for as long as the program runs. */
export function memoryStore(cursor?: string): ResumeStore {
  let kept = cursor;
  return {
    load: () => kept,
    save: (found) => {
      kept = found;
    },
  };
}

/** Keep the cursor in `localStorage`, under one key for each subscription of the page. */
export function localStorageStore(key: string): ResumeStore {
  return {
    load: () => localStorage.getItem(key) ?? undefined,
    save: (cursor) => localStorage.setItem(key, cursor),
  };
}

interface Files {
  readFile(path: string, encoding: "utf8"): Promise<string>;
  writeFile(path: string, text: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
}

/** Keep the cursor in a file (Node): it is replaced as a whole, so that a crash leaves the old or the new one. */
export function fileStore(path: string): ResumeStore {
  const name = "node:fs/promises"; // not a constant in the import: bundlers for browsers would look for it
  const files = import(name) as Promise<Files>;
  return {
    load: async () => {
      try {
        return (await (await files).readFile(path, "utf8")).trim() || undefined;
      } catch (error) {
        if ((error as { code?: string }).code === "ENOENT") {
          return undefined;
        }
        throw error;
      }
    },
    save: async (cursor) => {
      await (await files).writeFile(`${path}.new`, cursor);
      await (await files).rename(`${path}.new`, path);
    },
  };
}
