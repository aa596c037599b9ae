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

/**
 * Keep the cursor in `localStorage`, under one key for each subscription of the page.
 *
 * Where the browser refuses, because the storage is full or the user permits none, the cursor is kept for as long as the page
 * lives, and `onProblem` is told once (by default, a warning on the console). The next save tries again.
 */
export function localStorageStore(key: string, onProblem: (reason: string) => void = warn): ResumeStore {
  /** What could not be saved, and what the storage held instead: another tab has gone on where it holds something else. */
  let unsaved: { cursor: string; instead: string | undefined } | undefined;
  let told = false;
  const attempt = <Result>(work: () => Result): Result | undefined => {
    try {
      return work();
    } catch (error) {
      if (!told) {
        told = true;
        onProblem(`localStorage: cannot use ${JSON.stringify(key)}: ${(error as Error).message}`);
      }
      return undefined;
    }
  };
  const stored = (): string | undefined => attempt(() => localStorage.getItem(key) ?? undefined);
  return {
    load: () => {
      const found = stored();
      return unsaved !== undefined && unsaved.instead === found ? unsaved.cursor : found;
    },
    save: (cursor) => {
      const saved = attempt(() => {
        localStorage.setItem(key, cursor);
        return true;
      });
      unsaved = saved === true ? undefined : { cursor, instead: stored() };
      told = told && saved !== true;
    },
  };
}

function warn(reason: string): void {
  console.warn(`trelay: ${reason}; the cursor is lost with the page`);
}

interface Paths {
  dirname(path: string): string;
}

interface File {
  writeFile(text: string): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

interface Files {
  readFile(path: string, encoding: "utf8"): Promise<string>;
  open(path: string, flags: string): Promise<File>;
  rename(from: string, to: string): Promise<void>;
}

/**
 * Keep the cursor in a file (Node). It is replaced as a whole, and is on the disk before the next event is taken: a crash or a
 * power failure leaves the old or the new one.
 */
export function fileStore(path: string): ResumeStore {
  const [files, paths] = [imported<Files>("node:fs/promises"), imported<Paths>("node:path")];
  let listed = false;
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
      const { open, rename } = await files;
      const file = await open(`${path}.new`, "w");
      try {
        await file.writeFile(cursor);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${path}.new`, path);
      if (!listed) {
        // Once: of two cursors, the older one only makes events come again. Without a file, none would come at all.
        await open((await paths).dirname(path), "r").then(synchronised).catch(unlessUnsupported);
        listed = true;
      }
    },
  };
}

/** Import a module of Node. Its name is not a constant in the import: bundlers for browsers would look for it. */
async function imported<Module>(name: string): Promise<Module> {
  return (await import(name)) as Module;
}

/** Pass on an error, but for those of systems that cannot open a folder, or synchronise it. */
function unlessUnsupported(error: unknown): void {
  if (!["EACCES", "EINVAL", "EISDIR", "EPERM"].includes((error as { code?: string }).code ?? "")) {
    throw error;
  }
}

async function synchronised(file: File): Promise<void> {
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
