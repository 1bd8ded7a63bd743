import type { ResidencyStrategy } from './residency.js';

/** What the choice is made from: of the model, the device and its storage. */
export interface ResidencyFacts {
  readonly platform: string;
  /** Whether this is Termux on Android: no control groups, and the system ends what takes too much memory. */
  readonly isTermux: boolean;
  /** Major and minor. */
  readonly kernel: readonly [number, number];
  /** Memory that this model may take, everything of it: the plan's budget, the control group's limit or what is free. */
  readonly memoryBytes: number;
  /** Whether the kernel holds the process to that (control group), file pages included. */
  readonly isLimited: boolean;
  readonly slabsBytes: number;
  /** Weights that are no slabs. */
  readonly otherBytes: number;
  /** Of the sequences' caches. */
  readonly contextBytes: number;
  /** Buffers of an evaluation of so many tokens. */
  readonly evaluationBytes: (tokens: number) => number;
  /** More than that slabs do not get, whatever memory there is. */
  readonly mostBudgetBytes: number;
  /** The largest slab. */
  readonly slabBytes: number;
  readonly slabsPerLayer: number;
  readonly slabsPerToken: number;
  /** Of the bytes of slabs, the share in pages that hold one slab only (`slabPages`). */
  readonly managedShare: number;
  /** Pieces of slabs that are managed one by one. */
  readonly pieces: number;
  readonly hasDirectReads: boolean;
  readonly hasSparseFiles: boolean;
}

export type ResidencyChoice =
  | {
      readonly strategy: ResidencyStrategy;
      /** For slabs, while few tokens are evaluated at once; 0 with `none` and `hint`, where the kernel decides. */
      readonly budgetBytes: number;
      /** For slabs, while so many tokens are evaluated at once. */
      readonly budgetOf: (tokens: number) => number;
      /** Most tokens of one evaluation. */
      readonly batchTokens: number;
      /** Whether `hint` waits for the pages by itself. */
      readonly populate: boolean;
      /** In words, for people. */
      readonly reason: string;
    }
  | { readonly strategy: 'refused'; readonly reason: string; readonly neededBytes: number };

/** Evaluations of so many tokens, answers under way at once, are taken for the smallest: their buffers are small. */
export const FEW_TOKENS = 16;
/** Tokens of one evaluation at most where slabs are on storage: each batch reads most of the model. */
export const OFFLOADED_BATCH_TOKENS = 1024;
/** A batch streams through the layers: one is computed with while the next is read. */
const STREAMED_LAYERS = 1.5;
/**
 * What a child process takes besides the model and its buffers, of its own: Node's and llama.cpp's data, page tables; measured
 * 52 MB. The programs themselves are in memory once, for the agent as well.
 */
export const PROCESS_BYTES = 60_000_000;
/** Kept free of slabs, for what the kernel needs at the moment. */
export const SPARE_SHARE = 0.01;
/** Where fewer of the slabs' bytes can be managed, the cache would not hold the memory budget. */
const LEAST_MANAGED_SHARE = 0.8;
/** `vm.max_map_count` by default, less what a process has anyway; a piece may be two mappings. */
const MOST_PIECES = 30_000;
const POPULATE_SINCE = [5, 14] as const;

/**
 * Chooses how slabs are kept in memory.
 *
 * A model that fits is left to llama.cpp. One that does not gets a cache of its own wherever that is possible: it was the
 * fastest at every size of memory tried, and it alone keeps to a budget where the kernel does not enforce one. Else the
 * kernel is told which pages are needed. Refused is only what cannot be held at all: less memory than the weights that
 * every token needs.
 */
export function chooseResidency(facts: ResidencyFacts, wishTokens: number): ResidencyChoice {
  const { memoryBytes, otherBytes, slabsBytes } = facts;
  const fixed = otherBytes + facts.contextBytes + PROCESS_BYTES;
  const fewBytes = facts.evaluationBytes(FEW_TOKENS);
  const always = fixed + fewBytes;
  const least = always + facts.slabsPerToken * facts.slabBytes;
  if (memoryBytes < least) {
    return {
      strategy: 'refused',
      neededBytes: least,
      reason:
        `${mb(memoryBytes)} MB of memory; every token needs ${mb(always)} MB (weights that are no slabs ` +
        `${mb(otherBytes)}, context ${mb(facts.contextBytes + fewBytes)}, process ${mb(PROCESS_BYTES)}) and the slabs of one layer ` +
        `${mb(least - always)} MB`,
    };
  }
  const left = { budgetBytes: 0, budgetOf: () => 0, batchTokens: wishTokens, populate: false };
  const whole = fixed + facts.evaluationBytes(wishTokens) + slabsBytes;
  if (memoryBytes >= whole && facts.mostBudgetBytes >= slabsBytes) {
    return { ...left, strategy: 'none', reason: `the model fits: ${mb(whole)} of ${mb(memoryBytes)} MB` };
  }
  if (facts.platform !== 'linux' && facts.platform !== 'android') {
    return { ...left, strategy: 'none', reason: `only Linux lets slabs be looked after, this is ${facts.platform}` };
  }
  const usable = Math.floor(memoryBytes * (1 - SPARE_SHARE)) - fixed;
  const budgetOf = (tokens: number): number =>
    Math.min(facts.mostBudgetBytes, usable - facts.evaluationBytes(Math.max(FEW_TOKENS, tokens)));
  const budgetBytes = budgetOf(1);
  const batchTokens = largestBatch(budgetOf, facts, wishTokens);
  const share = `${Math.round((100 * budgetBytes) / slabsBytes)} % of the slabs fit`;
  const against = whyNoCache(facts, batchTokens);
  if (against !== undefined) {
    const populate = atLeast(facts.kernel, POPULATE_SINCE);
    return { ...left, strategy: 'hint', populate, reason: `${share}; hints only, since ${against}` };
  }
  const how = facts.hasDirectReads ? 'read directly' : 'read through the kernel’s cache (no direct reads here)';
  const limit = facts.isLimited && !facts.isTermux ? '' : '; nothing else limits what it takes';
  const batch = batchTokens < wishTokens ? `; ${batchTokens} tokens at once` : '';
  const load = facts.hasSparseFiles ? '' : '; loading reads the whole file (no sparse files here)';
  return {
    strategy: 'cache',
    budgetBytes,
    budgetOf,
    batchTokens,
    populate: false,
    reason: `${share} in a cache of ${mb(budgetBytes)} MB, ${how}${limit}${batch}${load}`,
  };
}

function whyNoCache(facts: ResidencyFacts, batchTokens: number): string | undefined {
  if (facts.managedShare < LEAST_MANAGED_SHARE) {
    return `only ${Math.round(100 * facts.managedShare)} % of their bytes lie in pages of one slab (align the file to 4096)`;
  }
  if (facts.pieces > MOST_PIECES) return `${facts.pieces} pieces are more than a process can map`;
  if (batchTokens < 1) return 'the slabs that one token uses in a layer do not fit together';
  return undefined;
}

/** Fewer where the buffers of so many would leave slabs less than a layer to stream through. */
function largestBatch(budgetOf: (tokens: number) => number, facts: ResidencyFacts, wishTokens: number): number {
  const streamBytes = STREAMED_LAYERS * facts.slabsPerLayer * facts.slabBytes;
  let tokens = wishTokens;
  while (tokens > FEW_TOKENS && budgetOf(tokens) < streamBytes) tokens = Math.max(FEW_TOKENS, Math.floor(tokens / 2));
  return batchTokensWithin(budgetOf(tokens), facts, tokens);
}

/**
 * How many tokens may be evaluated at once so that the slabs that they use in one layer surely fit: any number where a
 * whole layer fits, else as many as could all use different slabs. 0 where not even one does.
 */
export function batchTokensWithin(
  budgetBytes: number,
  shape: Pick<ResidencyFacts, 'slabBytes' | 'slabsPerLayer' | 'slabsPerToken'>,
  wish: number,
): number {
  const fitting = Math.floor(budgetBytes / shape.slabBytes);
  if (fitting >= shape.slabsPerLayer) return wish;
  return Math.min(wish, Math.floor(fitting / shape.slabsPerToken));
}

/** Of `uname -r`; `[0, 0]` where it says nothing. */
export function kernelVersion(release: string): readonly [number, number] {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return [Number(major), Number(minor)];
}

function atLeast(
  [major, minor]: readonly [number, number],
  [wantedMajor, wantedMinor]: readonly [number, number],
): boolean {
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function mb(bytes: number): number {
  return Math.round(bytes / 1e6);
}
