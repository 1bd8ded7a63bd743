/** What a running library says of itself, to be compared with the one that the bindings were written for. */
export interface LibraryFacts {
  /** Version of the package that ships it. */
  readonly packageVersion: string;
  /** `llama_version()`. */
  readonly libraryVersion: string;
  /** Sizes of our descriptions of its structs, bytes. */
  readonly sizes: Readonly<Record<keyof typeof KNOWN_SIZES, number>>;
  /** Fields of `llama_context_default_params()` and `llama_model_default_params()`. */
  readonly defaults: Readonly<Record<keyof typeof KNOWN_DEFAULTS, number>>;
}

/** The only build whose struct layouts we know; they change with almost every release of llama.cpp. */
export const KNOWN_PACKAGE = '3.22.1';
export const KNOWN_LIBRARY = '0.5.0-dev';

/** As `sizeof` in C with the headers of that build. */
export const KNOWN_SIZES = { modelParams: 80, contextParams: 160, batch: 56, kvOverride: 264 } as const;

/** A struct that is read at wrong offsets shows other values than these. */
export const KNOWN_DEFAULTS = {
  contextTokens: 512,
  batchTokens: 2048,
  microBatchTokens: 512,
  sequences: 1,
  cacheTypeK: 1,
  cacheTypeV: 1,
  poolingType: -1,
  gpuLayers: -1,
  useExtraBuffers: 1,
} as const;

/** Why the library must not be called by these bindings; undefined when it is the known one. */
export function layoutFault(facts: LibraryFacts): string | undefined {
  if (facts.packageVersion !== KNOWN_PACKAGE) {
    return `node-llama-cpp is ${facts.packageVersion}, expected exactly ${KNOWN_PACKAGE}`;
  }
  if (facts.libraryVersion !== KNOWN_LIBRARY) {
    return `llama.cpp is ${facts.libraryVersion}, expected exactly ${KNOWN_LIBRARY}`;
  }
  return differing(facts.sizes, KNOWN_SIZES, 'size of') ?? differing(facts.defaults, KNOWN_DEFAULTS, 'default');
}

function differing<K extends string>(
  found: Readonly<Record<K, number>>,
  known: Readonly<Record<K, number>>,
  what: string,
): string | undefined {
  for (const key of Object.keys(known) as K[]) {
    if (found[key] !== known[key]) return `${what} ${key} is ${found[key]}, expected ${known[key]}`;
  }
  return undefined;
}
