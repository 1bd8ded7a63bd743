import { rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

import { systemClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { type Command, InvalidArgumentError } from 'commander';

import type { Engine, EngineModel } from '../engine/engine.js';
import { createLlamaEngine } from '../engine/llama-engine.js';
import { slabLayout } from '../gguf/slab-layout.js';
import { skeletonsIn } from '../residency/disk-skeleton.js';
import { positiveInteger } from './slab-profile.js';
import { readTexts, taskFiles } from './slab-texts.js';

interface Options {
  readonly texts: string;
  readonly resident: number;
  readonly tasks: number;
  readonly before: number;
  readonly taskMask?: number;
  readonly contextTokens: number;
  readonly threads: number;
  readonly json?: boolean;
}

/** What a prompt meets: a process just started; memory as its own task, or as another one, has left it; itself, before. */
const SITUATIONS = ['cold', 'its task', 'another task', 'again'] as const;
type Situation = (typeof SITUATIONS)[number];

interface FirstToken {
  readonly task: string;
  readonly situation: Situation;
  /** Starting the process and loading; with `cold` only. */
  readonly loadMs?: number;
  readonly firstTokenMs: number;
  readonly bytesRead: number | null;
  readonly reusedTokens: number;
  /** Task that the prompt was taken to be of. */
  readonly pattern: string | null;
}

const WATCHDOG = milliseconds(60_000);
const ONE = { maxTokens: 1, temperature: 0, topP: 1, stop: [] };
const SOME = { ...ONE, maxTokens: 24 };

/** Adds `bench first-token`: how soon an answer begins, by what is in memory. */
export function registerBenchFirstToken(bench: Command): void {
  bench
    .command('first-token')
    .description(
      'time and bytes to the first token of a mixture kept on storage: cold, and by what memory was used for',
    )
    .argument('<file>')
    .requiredOption('--texts <dir>', 'folder of .jsonl files, one a task, named after it')
    .option('--resident <percent>', 'slabs in memory', percent, 40)
    .option('--tasks <n>', 'tasks whose prompts are measured', positiveInteger, 6)
    .option('--before <n>', 'answers that fill memory before a prompt', positiveInteger, 4)
    .option('--task-mask <n>', 'slabs of each layer that answers use, those of their task', positiveInteger)
    .option('--context-tokens <n>', 'tokens of prompt and answer', positiveInteger, 320)
    .option('--threads <n>', 'threads', positiveInteger, 1)
    .option('--json', 'print one JSON document')
    .action(firstToken);
}

async function firstToken(file: string, options: Options): Promise<void> {
  const path = resolve(file);
  const layout = slabLayout(await readGguf(path), path);
  if (layout === undefined) throw new FleetError('usage.invalid', `${file} is a dense model, expected a mixture`);
  const slabBudgetBytes = Math.floor((options.resident / 100) * layout.slabsBytes);
  const { contextTokens, taskMask: keep } = options;
  const serving = { slabBudgetBytes, ...(keep === undefined ? {} : { taskMask: { keep } }) };
  const model = { variantId: variantId('mixture'), path, contextTokens, stop: [], serving };
  const prompts = await promptsOf(options);
  const rows: FirstToken[] = [];
  const answers: AnswerReads[] = [];
  const skeletons = new Set(await skeletonsIn(dirname(path), path));
  for (const [i, { task, asked, before }] of prompts.entries()) {
    const other = prompts[(i + 1) % prompts.length]?.before ?? [];
    const engine = open(options);
    try {
      const measured = await measure(engine, model, { task, asked, before, other });
      rows.push(...measured.rows);
      answers.push(measured.answers);
    } finally {
      await engine.close();
    }
    process.stderr.write(`${task}\n`);
  }
  for (const made of await skeletonsIn(dirname(path), path)) if (!skeletons.has(made)) await rm(made, { force: true });
  const result = { file, resident: options.resident / 100, taskMask: keep ?? null, rows, answers: summed(answers) };
  process.stdout.write(options.json === true ? `${JSON.stringify(result)}\n` : textOf(result));
}

/** Of whole answers in between, prompts included. */
interface AnswerReads {
  readonly tokens: number;
  readonly bytesRead: number;
}

function summed(answers: readonly AnswerReads[]): AnswerReads {
  return {
    tokens: answers.reduce((sum, { tokens }) => sum + tokens, 0),
    bytesRead: answers.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
  };
}

interface Prompts {
  readonly task: string;
  readonly asked: string;
  readonly before: readonly string[];
}

async function promptsOf({ texts, tasks, before }: Options): Promise<readonly Prompts[]> {
  const files = [...(await taskFiles(texts))].slice(0, tasks);
  return Promise.all(
    files.map(async ([task, file]) => {
      const read = await readTexts(file, before + 1);
      const [asked = '', ...rest] = read.map((text) => ('prompt' in text ? text.prompt : text.text));
      return { task, asked, before: rest };
    }),
  );
}

function open({ threads }: Options): Engine {
  const options = { threads, sequences: 1, gpu: 'off', hosts: 'slabs' } as const;
  return createLlamaEngine({ ...options, watchdog: WATCHDOG, log: silentLogger, clock: systemClock });
}

async function measure(
  engine: Engine,
  model: EngineModel,
  { task, asked, before, other }: Prompts & { readonly other: readonly string[] },
): Promise<{ readonly rows: readonly FirstToken[]; readonly answers: AnswerReads }> {
  const signal = AbortSignal.timeout(600_000);
  const answer = (prompt: string, sampling: typeof ONE) =>
    engine.generate(
      model.variantId,
      { kind: 'chat', messages: [{ role: 'user', content: prompt }] },
      sampling,
      () => {},
      signal,
    );
  const answers: AnswerReads[] = [];
  const fill = async (prompts: readonly string[]): Promise<void> => {
    for (const prompt of prompts) {
      const { promptTokens, outputTokens, slabs } = await answer(prompt, SOME);
      answers.push({ tokens: promptTokens + outputTokens, bytesRead: slabs?.bytesRead ?? 0 });
    }
  };
  const startedAt = performance.now();
  await engine.load(model, signal);
  const loadMs = performance.now() - startedAt;
  const first = async (situation: Situation): Promise<FirstToken> => {
    const { prefill, slabs, reusedTokens = 0, pattern } = await answer(asked, ONE);
    const bytesRead = slabs?.bytesRead ?? null;
    const took = situation === 'cold' ? { loadMs } : {};
    return { task, situation, ...took, firstTokenMs: prefill, bytesRead, reusedTokens, pattern: pattern?.task ?? null };
  };
  const rows = [await first('cold')];
  await fill(before);
  rows.push(await first('its task'));
  await fill(other);
  rows.push(await first('another task'), await first('again'));
  return { rows, answers: summed(answers) };
}

function textOf({ rows, answers }: { readonly rows: readonly FirstToken[]; readonly answers: AnswerReads }): string {
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  const perToken = answers.bytesRead / Math.max(1, answers.tokens) / 1e6;
  const lines = SITUATIONS.map((situation) => {
    const of = rows.filter((row) => row.situation === situation);
    const load =
      situation === 'cold' ? `, after ${mean(of.map((row) => row.loadMs ?? 0)).toFixed(0)} ms of loading` : '';
    return (
      `${situation}: ${mean(of.map((row) => row.firstTokenMs)).toFixed(1)} ms to the first token, ` +
      `${(mean(of.map((row) => row.bytesRead ?? 0)) / 1e6).toFixed(2)} MB read${load}\n`
    );
  });
  return `${lines.join('')}answers in between: ${perToken.toFixed(3)} MB read a token\n`;
}

function percent(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && value <= 100)) throw new InvalidArgumentError('expected 1 to 100 per cent');
  return value;
}
