/**
 * The process that evaluates a model for `bench offload`: one a variant, in a control group of its own. It takes one
 * request at a time over IPC, computes synchronously, and answers once.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { constants, openSync, closeSync } from 'node:fs';

import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';

import { SlabModel } from '../engine/slab-model.js';
import { type SlabLayout, slabLayout } from '../gguf/slab-layout.js';
import { openLibc } from '../native/linux-libc.js';
import { openLlamaLibrary } from '../native/llama-library.js';
import { prepareSlabs } from '../residency/linux-residency.js';
import { FEW_TOKENS } from '../residency/residency-choice.js';
import type { ResidencyFigures, SlabResidency } from '../residency/residency.js';
import type { PrefetchRule } from '../slabs/prefetch.js';

/** `stock`: llama.cpp alone, nothing of ours in its way. `none`: our engine, slabs left to the kernel. */
export type BenchVariant = 'stock' | 'none' | 'hint' | 'cache';

export interface OpenRequest {
  readonly kind: 'open';
  readonly path: string;
  readonly variant: BenchVariant;
  /** For slabs, while tokens are evaluated one by one. */
  readonly budgetBytes: number;
  /** Of that, what the buffers of a batch take for each of its tokens. */
  readonly tokenBytes?: number;
  readonly batchTokens: number;
  readonly contextTokens: number;
  readonly frequencies?: readonly number[];
  readonly skeletonFolder?: string;
  readonly readers?: number;
  readonly threads: number;
  /** Whether slabs may be read before a router has chosen them. */
  readonly prefetch?: PrefetchRule;
}

export type BenchRequest =
  | OpenRequest
  /** Tokens one by one, each after what went before. `trace`: also which slabs they used. */
  | { readonly kind: 'decode'; readonly tokens: readonly number[]; readonly trace: boolean }
  /** Tokens at once, `ubatch` at a time, in an empty context. */
  | { readonly kind: 'prefill'; readonly tokens: readonly number[]; readonly ubatch: number }
  | { readonly kind: 'close' };

/** What a layer's router did with one token. */
export interface RoutedToken {
  readonly slabs: readonly number[];
  /** Of all slabs of the layer, where residency asked for them. */
  readonly scores?: readonly number[];
}

export interface BenchAnswer {
  readonly ms: number;
  /** Of each token, in order; of a prefill, one for all. */
  readonly tokenMs: readonly number[];
  readonly cpuMs: number;
  /** Bytes that storage read for this process. */
  readonly readBytes: number;
  readonly majorFaults: number;
  /** Of the last token's logits. */
  readonly hash: number;
  readonly figures?: ResidencyFigures;
  /** `[token][layer]`. */
  readonly trace?: readonly (readonly RoutedToken[])[];
  readonly residentBytes: number;
}

export type FromBenchChild =
  { readonly kind: 'answer'; readonly answer: BenchAnswer } | { readonly kind: 'failed'; readonly message: string };

interface Loaded {
  readonly model: SlabModel;
  readonly residency: SlabResidency | undefined;
  readonly layout: SlabLayout | undefined;
}

let loaded: Loaded | undefined;
let position = 0;

async function open(request: OpenRequest): Promise<BenchAnswer> {
  const before = counters();
  const header = await readGguf(request.path);
  const layout = slabLayout(header, request.path);
  const library = await openLlamaLibrary();
  const { variant, path, batchTokens, contextTokens } = request;
  const prepared =
    layout === undefined || variant === 'stock' || variant === 'none'
      ? undefined
      : await prepareSlabs({ ...request, layout, strategy: variant, budgetOf: budgetOf(request) });
  const model = SlabModel.open(library, {
    path: prepared?.loadPath ?? path,
    layout: variant === 'stock' ? undefined : layout,
    contextTokens,
    sequences: 1,
    threads: request.threads,
    batchTokens,
  });
  const residency = await prepared?.attach();
  if (prepared !== undefined) await forget(prepared.loadPath);
  model.residency = residency;
  loaded = { model, residency, layout };
  return { ...since(before), tokenMs: [], hash: 0 };
}

function budgetOf({ budgetBytes, tokenBytes = 0 }: OpenRequest): (tokens: number) => number {
  return (tokens) => budgetBytes - tokenBytes * Math.max(0, tokens - FEW_TOKENS);
}

/** Of the skeleton nothing is needed any more but what is mapped: its empty pages would only take memory. */
async function forget(path: string): Promise<void> {
  const fd = openSync(realpathSync(path), constants.O_RDONLY);
  (await openLibc()).forgetCached(fd, 0, 0);
  closeSync(fd);
}

function decode(tokens: readonly number[], wantsTrace: boolean): BenchAnswer {
  const { model, residency, layout } = loadedOrThrow();
  const trace: RoutedToken[][] = [];
  const layers = layout?.layers.length ?? 0;
  if (wantsTrace) {
    model.listener = {
      probabilities: false,
      onRouted: ({ layer, slabs, probabilities }) => {
        const scores = probabilities === undefined ? {} : { scores: [...probabilities] };
        trace.at(-1)?.splice(layer, 1, { slabs: [...slabs], ...scores });
      },
    };
  }
  residency?.figures();
  const before = counters();
  const tokenMs: number[] = [];
  for (const token of tokens) {
    if (wantsTrace) trace.push(Array.from({ length: layers }, () => ({ slabs: [] })));
    const startedAt = performance.now();
    model.evaluate([{ token, position, sequence: 0, output: true }]);
    tokenMs.push(performance.now() - startedAt);
    position++;
  }
  const spent = since(before);
  model.listener = undefined;
  const figures = residency?.figures();
  return {
    ...spent,
    tokenMs,
    hash: hashOf(model, 0),
    ...(figures === undefined ? {} : { figures }),
    ...(wantsTrace ? { trace } : {}),
  };
}

function prefill(tokens: readonly number[], ubatch: number): BenchAnswer {
  const { model, residency } = loadedOrThrow();
  model.forget(0, 0);
  position = 0;
  residency?.figures();
  const before = counters();
  let last = 0;
  for (let start = 0; start < tokens.length; start += ubatch) {
    const part = tokens.slice(start, start + ubatch);
    last = part.length - 1;
    model.evaluate(
      part.map((token, i) => ({ token, position: start + i, sequence: 0, output: start + i === tokens.length - 1 })),
    );
  }
  const spent = since(before);
  position = tokens.length;
  const figures = residency?.figures();
  return { ...spent, tokenMs: [spent.ms], hash: hashOf(model, last), ...(figures === undefined ? {} : { figures }) };
}

function loadedOrThrow(): Loaded {
  if (loaded === undefined) throw new Error('no model is open');
  return loaded;
}

/** FNV-1a over the bits of the logits: equal only when all of them are. */
function hashOf(model: SlabModel, i: number): number {
  const logits = new Float32Array(model.vocabulary);
  model.logits(i, logits);
  let hash = 0x811c9dc5;
  for (const word of new Uint32Array(logits.buffer)) hash = Math.imul(hash ^ word, 0x01000193);
  return hash >>> 0;
}

interface Counters {
  readonly at: number;
  readonly cpuMs: number;
  readonly readBytes: number;
  readonly majorFaults: number;
}

function counters(): Counters {
  const { userCPUTime, systemCPUTime, majorPageFault } = process.resourceUsage();
  const read = /^read_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1];
  return {
    at: performance.now(),
    cpuMs: (userCPUTime + systemCPUTime) / 1000,
    readBytes: Number(read ?? 0),
    majorFaults: majorPageFault,
  };
}

function since(before: Counters): Pick<BenchAnswer, 'ms' | 'cpuMs' | 'readBytes' | 'majorFaults' | 'residentBytes'> {
  const now = counters();
  return {
    ms: now.at - before.at,
    cpuMs: now.cpuMs - before.cpuMs,
    readBytes: now.readBytes - before.readBytes,
    majorFaults: now.majorFaults - before.majorFaults,
    residentBytes: process.memoryUsage.rss(),
  };
}

async function answer(request: BenchRequest): Promise<BenchAnswer | undefined> {
  switch (request.kind) {
    case 'open':
      return open(request);
    case 'decode':
      return decode(request.tokens, request.trace);
    case 'prefill':
      return prefill(request.tokens, request.ubatch);
    case 'close':
      loaded?.model.close();
      process.disconnect();
      return undefined;
  }
}

function send(message: FromBenchChild): void {
  if (process.connected) process.send?.(message);
}

process.on('message', (request: BenchRequest) => {
  answer(request)
    .then((given) => given !== undefined && send({ kind: 'answer', answer: given }))
    .catch((error: unknown) => {
      const code = isFleetError(error) ? ` [${error.code}]` : '';
      send({ kind: 'failed', message: `${messageOf(error)}${code}` });
    });
});
// A terminal's Ctrl-C reaches the whole group; the parent decides when this process ends.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
