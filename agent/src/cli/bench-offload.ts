import { release } from 'node:os';

import { FleetError } from '@fleetgate/shared/errors';
import { type Command, InvalidArgumentError, Option } from 'commander';

import { slabBytesOf } from '../gguf/slab-layout.js';
import { topicText } from '../gguf/synth-topics.js';
import {
  chooseResidency,
  kernelVersion,
  OFFLOADED_BATCH_TOKENS,
  type ResidencyFacts,
} from '../residency/residency-choice.js';
import type { PrefetchRule } from '../slabs/prefetch.js';
import { bytesOf, figuresOf, isLossless, type OffloadReport, reportText } from './bench-offload-report.js';
import { makeModel, type Model, SEED } from './bench-offload-model.js';
import { type Contest, type Course, floorsOf, runContest } from './bench-offload-run.js';
import { type BenchStorage, openStorage } from './bench-offload-sandbox.js';
import { bytesOption, positiveInteger } from './variant-options.js';

interface Options {
  readonly size: number;
  readonly caps: readonly string[];
  readonly storage: readonly (number | undefined)[];
  readonly strategy?: 'hint' | 'cache';
  readonly tokens: number;
  readonly turns: number;
  readonly warmUp: number;
  readonly prompt: number;
  readonly threads: number;
  readonly prefetch: PrefetchRule;
  readonly folder?: string;
  readonly json?: boolean;
}

/** llama.cpp's own default (`n_ubatch`). */
const STOCK_BATCH_TOKENS = 512;
/** Measured for this shape: what an evaluation's buffers take, per token of a batch; a context's cache, per token. */
const BUFFER_BYTES = 60_000;
const CONTEXT_TOKEN_BYTES = 1024;
/** At slow storage so many tokens of the others: it takes long, and spreads little. */
const SLOW_SHARE = 0.6;
const SLOW = 200e6;
/** More than the model needs. */
const FITS = 'fits';
const FITTING_SPARE_BYTES = 600e6;

/** Adds `bench offload`: slabs kept by us against stock llama.cpp, under memory caps, from the same run. */
export function registerBenchOffload(bench: Command): void {
  bench
    .command('offload')
    .description(
      'mixture-of-experts model larger than memory: slabs kept by us against stock llama.cpp’s mapping, both under a ' +
        'memory cap, taking turns (Linux; caps, throttling and a disk of its own need root). Makes and removes a model',
    )
    .option('--size <bytes>', 'size of the model that is made', bytesOption, 2.6e9)
    .addOption(
      new Option('--caps <list>', `caps, in per cent of the model, or ${FITS}`)
        .argParser(capList)
        .default(['35', '50', FITS], `35,50,${FITS}`),
    )
    .addOption(
      new Option('--storage <list>', 'speeds of storage per second, or max')
        .argParser(speedList)
        .default([undefined, 400e6, 90e6], 'max,400MB,90MB'),
    )
    .addOption(new Option('--strategy <name>', 'instead of the one chosen by rule').choices(['hint', 'cache']))
    .option('--tokens <n>', 'tokens decoded at each speed', positiveInteger, 40)
    .option('--turns <n>', 'turns that they are cut into', positiveInteger, 5)
    .option('--warm-up <n>', 'tokens before measuring', positiveInteger, 60)
    .option('--prompt <n>', 'tokens of the prompt; 1 for none', positiveInteger, 1024)
    .option('--threads <n>', 'threads that compute, of both', positiveInteger, 1)
    .addOption(
      new Option('--prefetch <when>', 'slabs read before their router has chosen them')
        .choices(['measured', 'always', 'never'])
        .default('measured'),
    )
    .option('--folder <dir>', 'where the model is made (default: the system’s folder for temporary files)')
    .option('--json', 'print one JSON document')
    .action(async (options: Options) => benchOffload(options));
}

async function benchOffload(options: Options): Promise<void> {
  if (process.platform !== 'linux') {
    throw new FleetError('engine.unavailable', `bench offload: only on Linux, this is ${process.platform}`);
  }
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort(new FleetError('job.cancelled', 'interrupted; all is removed'));
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, interrupt);
  const copies = options.strategy === 'hint' ? 2 : 1;
  const storage = await openStorage(options.folder, copies * options.size);
  try {
    const report = await measure(options, storage, copies > 1, interrupted.signal);
    process.stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : reportText(report));
  } finally {
    await storage.remove();
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, interrupt);
  }
}

async function measure(
  options: Options,
  storage: BenchStorage,
  withCopy: boolean,
  signal: AbortSignal,
): Promise<OffloadReport> {
  const model = await makeModel(options.size, storage, withCopy, tell, signal);
  const { layout, frequencies } = model;
  const weights = layout.slabsBytes + layout.otherBytes;
  const notes = [
    `model ${mb(weights)} MB, slabs ${mb(layout.slabsBytes)} MB (${layout.slabsPerLayer} in each of ` +
      `${layout.layers.length} layers, ${layout.slabsPerToken} used, ${(layout.slabBytes / 1e6).toFixed(2)} MB each); ` +
      `read-ahead ${storage.readAheadKb ?? '?'} KB; ${options.threads} ` +
      `thread${options.threads === 1 ? '' : 's'}; a prompt of ${options.prompt} tokens`,
    ...storage.notes,
  ];
  const report = { figures: [...noFigures()], bytes: [...noBytes()], isLossless: true };
  for (const cap of options.caps) {
    const { name, contest, course, reason } = plan(cap, options, model, storage);
    notes.push(
      `${name}: ${reason}; prompts ${contest.batchTokens} tokens at once (stock: ${STOCK_BATCH_TOKENS}, its default)`,
    );
    const result = await runContest(contest, course, tell, signal);
    if (contest.capBytes !== undefined && !result.limitsMemory)
      notes.push(`${name}: memory could not be capped (control groups)`);
    if (!result.throttles) notes.push(`${name}: storage could not be throttled (control groups)`);
    report.figures.push(...figuresOf(name, options.storage, result));
    report.isLossless &&= isLossless(result);
    if (contest.variant !== 'cache') continue;
    const shape = {
      slabsPerLayer: layout.slabsPerLayer,
      slabBytes: layout.layers.map(slabBytesOf),
      capacityBytes: contest.budgetBytes,
    };
    report.bytes.push(bytesOf(name, result, floorsOf(result.trace, options.warmUp, shape, frequencies)));
  }
  return { ...report, notes };
}

function noFigures(): OffloadReport['figures'] {
  return [];
}

function noBytes(): OffloadReport['bytes'] {
  return [];
}

interface Plan {
  readonly name: string;
  readonly contest: Contest;
  readonly course: Course;
  readonly reason: string;
}

function plan(cap: string, options: Options, { path, copy, layout, frequencies }: Model, storage: BenchStorage): Plan {
  const fits = cap === FITS;
  const weights = layout.slabsBytes + layout.otherBytes;
  const counts = options.storage.map((speed) =>
    speed !== undefined && speed < SLOW ? Math.ceil(SLOW_SHARE * options.tokens) : options.tokens,
  );
  const decoded = options.warmUp + counts.reduce((sum, count) => sum + count, 0);
  const contextTokens = 8 + Math.max(decoded, options.prompt);
  const capBytes = fits ? weights + FITTING_SPARE_BYTES : Math.round((weights * Number(cap)) / 100);
  const facts: ResidencyFacts = {
    platform: process.platform,
    isTermux: false,
    kernel: kernelVersion(release()),
    memoryBytes: capBytes,
    isLimited: true,
    slabsBytes: layout.slabsBytes,
    otherBytes: layout.otherBytes,
    contextBytes: contextTokens * CONTEXT_TOKEN_BYTES * layout.layers.length,
    mostBudgetBytes: Infinity,
    evaluationBytes: (tokens) => tokens * BUFFER_BYTES,
    slabBytes: layout.slabBytes,
    slabsPerLayer: layout.slabsPerLayer,
    slabsPerToken: layout.slabsPerToken,
    managedShare: 1,
    pieces: layout.layers.reduce((sum, { tensors }) => sum + tensors.length * layout.slabsPerLayer, 0),
    hasDirectReads: true,
    hasSparseFiles: true,
  };
  const choice = chooseResidency(facts, OFFLOADED_BATCH_TOKENS);
  if (choice.strategy === 'refused') throw new FleetError('usage.invalid', `cap ${cap} %: ${choice.reason}`);
  const tokens = topicText(SEED, decoded + options.prompt);
  let at = 0;
  const take = (count: number): readonly number[] => tokens.slice(at, (at += count));
  const variant = fits ? choice.strategy : (options.strategy ?? choice.strategy);
  const name = fits ? FITS : `${cap} %`;
  return {
    name,
    reason: variant === choice.strategy ? choice.reason : `asked for: ${variant}`,
    contest: {
      name: `cap ${name}`,
      path,
      stockPath: copy,
      device: storage.device,
      capBytes,
      variant,
      budgetBytes: choice.budgetBytes,
      tokenBytes: BUFFER_BYTES,
      batchTokens: choice.batchTokens,
      stockBatchTokens: STOCK_BATCH_TOKENS,
      contextTokens,
      threads: options.threads,
      prefetch: options.prefetch,
      frequencies,
      skeletonFolder: storage.folder,
    },
    course: {
      speeds: options.storage,
      warmUp: take(options.warmUp),
      decode: counts.map(take),
      turns: options.turns,
      prefill: options.prompt > 1 ? take(options.prompt) : [],
    },
  };
}

function capList(text: string): readonly string[] {
  return text.split(',').map((part) => {
    const cap = part.trim().replace(/\s*%$/, '');
    if (cap !== FITS && !(Number(cap) > 0 && Number(cap) < 100)) {
      throw new InvalidArgumentError(`expected per cents between 0 and 100, or ${FITS}, separated by commas.`);
    }
    return cap;
  });
}

function speedList(text: string): readonly (number | undefined)[] {
  return text.split(',').map((part) => (part.trim() === 'max' ? undefined : bytesOption(part)));
}

function mb(bytes: number): number {
  return Math.round(bytes / 1e6);
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}
