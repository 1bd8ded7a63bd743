import { readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';

import { type Command, InvalidArgumentError } from 'commander';

import { type ExpertFolder, listExpertCards } from '@fleetgate/shared/catalogue/disk-expert-card';
import { check } from '@fleetgate/shared/check';
import { systemClock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import { readModelFacts } from '@fleetgate/shared/gguf/disk-gguf';
import type { VariantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { elapsed, milliseconds } from '@fleetgate/shared/units/quantity';

import type { Engine } from '../engine/engine.js';
import { createLlamaEngine } from '../engine/llama-engine.js';
import { ensembleOf } from './outcome-ensemble.js';
import {
  ENSEMBLE,
  type Outcome,
  type ScoredAnswer,
  type TextPair,
  spreadPositions,
  textPairSchema,
  toOutcome,
} from './outcome-sample.js';

interface OutcomeOptions {
  readonly experts: string;
  readonly texts: string;
  readonly perDomain: number;
  readonly out: string;
  readonly threads: number;
  readonly json?: boolean;
  readonly answers?: number;
  /** Names, separated by commas; true for all that have the same tokenizer. */
  readonly ensemble?: string | true;
}

interface Sample {
  readonly id: string;
  readonly pair: TextPair;
  readonly scores: Map<string, ScoredAnswer>;
}

/** The same prompts are drawn every time. */
const SEED = 1;
const TEXTS = '.train.jsonl.gz';
const WATCHDOG = milliseconds(30_000);
const PROGRESS_EVERY = 100;

/** Adds `outcomes`: measures every expert on training prompts, for the gate to learn from. */
export function registerOutcomes(program: Command): void {
  program
    .command('outcomes')
    .description('measure every expert on training prompts (bits per byte of the reference answer) for the gate')
    .option('--experts <dir>', 'folder of expert cards', 'experts')
    .option('--texts <dir>', `folder of <domain>${TEXTS} files`, 'experts/data')
    .option('--per-domain <n>', 'prompts of each domain, spread over its file (seed 1)', positiveInteger, 200)
    .requiredOption('--out <file>', 'outcome file to write (.jsonl.gz)')
    .option('--threads <n>', 'threads of the engine', positiveInteger, 1)
    .option(
      '--answers <n>',
      'also let every expert answer, up to n tokens: how sure it was (conf), its length (out_tok)',
      positiveInteger,
    )
    .option(
      '--ensemble [names]',
      'also measure these experts answering together: names with commas, or all of one tokenizer',
    )
    .option('--json', 'print a summary as JSON')
    .action(async (options: OutcomeOptions) => measureOutcomes(options));
}

async function measureOutcomes(options: OutcomeOptions): Promise<void> {
  const startedAt = systemClock.now();
  const folders = await listExpertCards(options.experts);
  if (folders.length === 0) throw new FleetError('outcomes.invalid', `${options.experts}: no expert cards in it`);
  const experts = folders.map(({ card }) => card.name);
  const ensemble = options.ensemble === undefined ? [] : await ensembleOf(folders, options.ensemble);
  const samples = await readSamples(options.texts, options.perDomain);
  const engine = createLlamaEngine({
    threads: options.threads,
    sequences: 1,
    gpu: 'off',
    watchdog: WATCHDOG,
    log: silentLogger,
    clock: systemClock,
  });
  try {
    for (const folder of folders) {
      const detail = ensemble.includes(folder.card.name) ? 'tokens' : undefined;
      await scoreAll(engine, folder, samples, { detail, answers: options.answers });
    }
  } finally {
    await engine.close();
  }
  const outcomes = samples.flatMap(({ id, pair, scores }) => toOutcome(id, pair, scores, experts, ensemble) ?? []);
  await writeOutcomes(options.out, outcomes);
  const seconds = elapsed(startedAt, systemClock.now()) / 1000;
  const columns = ensemble.length === 0 ? experts : [...experts, ENSEMBLE];
  printSummary(options, columns, outcomes, samples.length - outcomes.length, seconds);
}

async function readSamples(directory: string, perDomain: number): Promise<readonly Sample[]> {
  const files = (await readdir(directory).catch((cause: unknown) => unreadable(directory, cause)))
    .filter((name) => name.endsWith(TEXTS))
    .toSorted();
  if (files.length === 0) throw new FleetError('outcomes.invalid', `${directory}: no *${TEXTS} files in it`);
  const random = new SeededRandom(SEED);
  const samples: Sample[] = [];
  for (const name of files) {
    const file = join(directory, name);
    const packed = await readFile(file).catch((cause: unknown) => unreadable(file, cause));
    const text = await promisify(gunzip)(packed).catch((cause: unknown) => unreadable(file, cause));
    const lines = text.toString('utf8').trimEnd().split('\n');
    for (const position of spreadPositions(lines.length, perDomain, random)) {
      const pair = readPair(lines[position] ?? '', `${file}:${position + 1}`);
      samples.push({ id: `${name.slice(0, -TEXTS.length)}-${position}`, pair, scores: new Map() });
    }
  }
  return samples;
}

function readPair(line: string, where: string): TextPair {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    return unreadable(where, cause);
  }
  return check(textPairSchema, value, 'outcomes.invalid', where);
}

interface Wanted {
  readonly detail: 'tokens' | undefined;
  /** Most tokens of the expert's own answer. */
  readonly answers: number | undefined;
}

/** Scores every sample with the expert's first variant. A prompt that its context cannot hold stays without a score. */
async function scoreAll(
  engine: Engine,
  { card, paths }: ExpertFolder,
  samples: readonly Sample[],
  wanted: Wanted,
): Promise<void> {
  const [variantId, path] = [...paths][0] ?? [];
  if (variantId === undefined || path === undefined) return;
  const { signal } = new AbortController();
  const { contextTokens } = await readModelFacts(path);
  await engine.load({ variantId, path, contextTokens, stop: card.stop }, signal);
  for (const [i, { pair, scores }] of samples.entries()) {
    try {
      scores.set(card.name, await measured(engine, variantId, pair, wanted));
    } catch (error) {
      if (!isFleetError(error, 'request.invalid')) throw error;
    }
    const done = i + 1;
    if (done % PROGRESS_EVERY === 0 || done === samples.length) tell(`${card.name}: ${done} of ${samples.length}\n`);
  }
  await engine.unload(variantId);
}

async function measured(
  engine: Engine,
  variantId: VariantId,
  { prompt, completion }: TextPair,
  { detail, answers }: Wanted,
): Promise<ScoredAnswer> {
  const { signal } = new AbortController();
  const score = await engine.score(variantId, prompt, completion, signal, { detail });
  if (answers === undefined) return score;
  const input = { kind: 'chat' as const, messages: [{ role: 'user' as const, content: prompt }] };
  const greedy = { maxTokens: answers, temperature: 0, topP: 1, stop: [] };
  const answer = await engine.generate(variantId, input, greedy, () => {}, signal, { confidence: true });
  // One that was cut off would have gone on: the reference answer says how long such answers are.
  const isCut = answer.finishReason === 'length';
  const tokens = isCut ? Math.max(answer.outputTokens, score.scoredTokens) : answer.outputTokens;
  return { ...score, own: { tokens, meanLogProb: answer.meanLogProb } };
}

async function writeOutcomes(file: string, outcomes: readonly Outcome[]): Promise<void> {
  if (outcomes.length === 0) {
    throw new FleetError('outcomes.invalid', 'no prompt could be scored by every expert', {
      hint: 'the experts may have contexts too short for these texts',
    });
  }
  const text = outcomes.map((outcome) => `${JSON.stringify(outcome)}\n`).join('');
  const part = `${file}.part`;
  try {
    await writeFile(part, await promisify(gzip)(text, { level: 9 }));
    await rename(part, file);
  } catch (cause) {
    await rm(part, { force: true });
    throw new FleetError('outcomes.invalid', `${file} cannot be written: ${messageOf(cause)}`, { cause });
  }
}

function printSummary(
  options: OutcomeOptions,
  experts: readonly string[],
  outcomes: readonly Outcome[],
  skipped: number,
  seconds: number,
): void {
  const meanBitsPerByte = Object.fromEntries(
    experts.map((expert) => [
      expert,
      Number((outcomes.reduce((sum, { bpb }) => sum + (bpb[expert] ?? 0), 0) / outcomes.length).toFixed(3)),
    ]),
  );
  const summary = { file: options.out, prompts: outcomes.length, skipped, seconds, meanBitsPerByte };
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(summary)}\n`);
    return;
  }
  const table = experts.map((expert) => `  ${expert.padEnd(24)}${meanBitsPerByte[expert]?.toFixed(3)}\n`).join('');
  process.stdout.write(
    `${outcomes.length} prompts (${skipped} left out: too long for an expert) in ${seconds.toFixed(0)} s -> ` +
      `${options.out}\nmean bits per byte of the reference answers:\n${table}`,
  );
}

function unreadable(where: string, cause: unknown): never {
  throw new FleetError('outcomes.invalid', `${where}: ${messageOf(cause)}`, { cause });
}

function tell(line: string): void {
  process.stderr.write(line);
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('expected an integer of 1 or more');
  return value;
}
