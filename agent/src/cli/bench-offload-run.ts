import { closeSync, openSync } from 'node:fs';

import { openLibc } from '../native/linux-libc.js';
import { belady, decayedFrequency, type RoutingTrace } from '../slabs/cache-policy.js';
import type { PrefetchRule } from '../slabs/prefetch.js';
import { type SimulatedCache, simulateCache } from '../slabs/cache-simulation.js';
import type { BenchAnswer, BenchVariant, RoutedToken } from './bench-offload-child.js';
import { BenchProcess } from './bench-offload-process.js';
import { openSandbox } from './bench-offload-sandbox.js';

/** A way of keeping slabs, to be compared with stock llama.cpp under the same cap. */
export interface Contest {
  readonly name: string;
  readonly path: string;
  /** What stock llama.cpp loads: another copy where ours shares the kernel's pages of the file. */
  readonly stockPath: string;
  readonly device: string;
  /** Undefined: no cap. */
  readonly capBytes: number | undefined;
  readonly variant: Exclude<BenchVariant, 'stock'>;
  /** For slabs, while tokens are evaluated one by one. */
  readonly budgetBytes: number;
  /** Of that, what the buffers of a batch take for each of its tokens. */
  readonly tokenBytes: number;
  readonly batchTokens: number;
  /** Of stock llama.cpp: its own default. */
  readonly stockBatchTokens: number;
  readonly contextTokens: number;
  readonly threads: number;
  readonly prefetch: PrefetchRule;
  readonly frequencies: readonly number[];
  readonly skeletonFolder: string;
}

export interface Course {
  /** Bytes per second of storage; undefined: as fast as it is. */
  readonly speeds: readonly (number | undefined)[];
  readonly warmUp: readonly number[];
  /** Tokens of each speed. */
  readonly decode: readonly (readonly number[])[];
  /** Turns that each speed's tokens are cut into; the two take turns. */
  readonly turns: number;
  readonly prefill: readonly number[];
}

export interface Pair {
  readonly stock: BenchAnswer;
  readonly ours: BenchAnswer;
}

export interface ContestResult {
  readonly load: Pair;
  readonly limitsMemory: boolean;
  readonly throttles: boolean;
  /** `[speed][turn]`. */
  readonly decode: readonly (readonly Pair[])[];
  /** `[speed]`. */
  readonly prefill: readonly Pair[];
  /** Slabs of all decoded tokens, those of warming up first. */
  readonly trace: readonly (readonly RoutedToken[])[];
}

export type Tell = (text: string) => void;

/** Runs a contest: both variants alive at once, each under its own cap, taking turns. */
export async function runContest(
  contest: Contest,
  course: Course,
  tell: Tell,
  signal: AbortSignal,
): Promise<ContestResult> {
  const open: BenchProcess[] = [];
  try {
    for (const path of new Set([contest.path, contest.stockPath])) await forgetFile(path);
    const group = `fleetgate-bench-${process.pid}-${contest.name.replaceAll(/[^\w]/g, '')}`;
    const sandboxes = [];
    for (const name of ['stock', 'ours']) {
      const sandbox = await openSandbox(`${group}-${name}`, contest.capBytes, contest.device);
      sandboxes.push(sandbox);
      open.push(await BenchProcess.start(sandbox));
    }
    const [stock, ours] = open;
    if (stock === undefined || ours === undefined) throw new Error('two processes were started');
    const shared = { ...contest, kind: 'open' as const };
    const load = {
      stock: await stock.ask(
        { ...shared, variant: 'stock', path: contest.stockPath, batchTokens: contest.stockBatchTokens },
        signal,
      ),
      ours: await ours.ask(shared, signal),
    };
    tell(`${contest.name}: loaded in ${seconds(load.stock.ms)} s (stock), ${seconds(load.ours.ms)} s`);
    // Which slabs were used is asked of a cache only: it looks at the routers anyway.
    const decodeBoth = async (tokens: readonly number[]): Promise<Pair> => ({
      stock: await stock.ask({ kind: 'decode', tokens, trace: false }, signal),
      ours: await ours.ask({ kind: 'decode', tokens, trace: contest.variant === 'cache' }, signal),
    });
    const throttle = async (bytes: number | undefined): Promise<void> => {
      for (const one of open) await one.throttle(bytes);
    };
    const warm = await decodeBoth(course.warmUp);
    const trace = [warm.ours];
    // Speeds take turns too: so each meets the text's easy and hard parts.
    const parts = course.decode.map((tokens) => cut(tokens, course.turns));
    const decode: Pair[][] = course.speeds.map(() => []);
    for (let turn = 0; turn < course.turns; turn++) {
      for (const [i, speed] of course.speeds.entries()) {
        const tokens = parts[i]?.[turn];
        if (tokens === undefined) continue;
        await throttle(speed);
        const pair = await decodeBoth(tokens);
        decode[i]?.push(pair);
        trace.push(pair.ours);
        tell(`${contest.name}, ${speedName(speed)}: ${(pair.stock.ms / pair.ours.ms).toFixed(2)}`);
      }
    }
    const prefill: Pair[] = [];
    for (const speed of course.prefill.length === 0 ? [] : course.speeds) {
      await throttle(speed);
      const prompt = { kind: 'prefill', tokens: course.prefill } as const;
      const pair = {
        stock: await stock.ask({ ...prompt, ubatch: contest.stockBatchTokens }, signal),
        ours: await ours.ask({ ...prompt, ubatch: contest.batchTokens }, signal),
      };
      prefill.push(pair);
      tell(`${contest.name}, ${speedName(speed)}: prompt ${(pair.stock.ms / pair.ours.ms).toFixed(2)}`);
    }
    return {
      load,
      limitsMemory: sandboxes.every((one) => one.limitsMemory),
      throttles: sandboxes.every((one) => one.throttles),
      decode,
      prefill,
      trace: trace.flatMap((answer) => answer.trace ?? []),
    };
  } finally {
    for (const one of open) await one.close();
    for (const path of new Set([contest.path, contest.stockPath])) await forgetFile(path);
  }
}

/** Pages that somebody read before would be charged to nobody's cap. */
export async function forgetFile(path: string): Promise<void> {
  const fd = openSync(path, 'r');
  (await openLibc()).forgetCached(fd, 0, 0);
  closeSync(fd);
}

export interface Floors {
  /** The same policy on the same tokens with the same memory: what it should have read. */
  readonly own: SimulatedCache;
  /** What the policy that knows the future would have read. */
  readonly belady: SimulatedCache;
}

/** What the tokens after warming up cost at least, by simulation. */
export function floorsOf(
  tokens: ContestResult['trace'],
  warmUp: number,
  shape: Parameters<typeof simulateCache>[1],
  frequencies: readonly number[],
): Floors {
  const slabs = frequencies.length;
  const options = { warmUp, filled: true };
  const trace = slabsOf(tokens);
  const probabilities = tokens.map((layers) => layers.map(({ scores }) => Float32Array.from(scores ?? [])));
  return {
    own: simulateCache(trace, shape, decayedFrequency(slabs, frequencies), { ...options, probabilities }),
    belady: simulateCache(trace, shape, belady(slabs, shape.slabsPerLayer, trace), options),
  };
}

export function slabsOf(tokens: ContestResult['trace']): RoutingTrace {
  return tokens.map((layers) => layers.map(({ slabs }) => Int32Array.from(slabs)));
}

export function speedName(bytesPerSecond: number | undefined): string {
  return bytesPerSecond === undefined ? 'unthrottled' : `${Math.round(bytesPerSecond / 1e6)} MB/s`;
}

function cut(tokens: readonly number[], parts: number): (readonly number[])[] {
  const size = Math.ceil(tokens.length / parts);
  return Array.from({ length: parts }, (_, i) => tokens.slice(i * size, (i + 1) * size)).filter(
    (part) => part.length > 0,
  );
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
