import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { systemClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { readModelFacts } from '@fleetgate/shared/gguf/disk-gguf';
import { SeededRandom } from '@fleetgate/shared/random';
import type { Command } from 'commander';

import { writeSynth } from '../gguf/disk-synth.js';
import { synthModel } from '../gguf/synth.js';
import {
  type EngineReport,
  type FirstTokenFigure,
  firstTokenFigure,
  reportText,
  type SpeedFigure,
  speedFigures,
} from './bench-engine-report.js';
import {
  emptyChildren,
  measureFirstTokens,
  measureSpeed,
  type Subject,
  type Surroundings,
} from './bench-engine-run.js';
import { measureTogether, type TogetherFigure } from './bench-engine-together.js';
import { bytesOption, positiveInteger } from './variant-options.js';

interface Options {
  readonly size: number;
  readonly turns: number;
  readonly tokens: number;
  readonly prompt: number;
  readonly threads: number;
  readonly folder?: string;
  readonly json?: boolean;
}

const EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));
const SHAPE = { embedding: 1024, heads: 16, type: 'q8_0', seed: 1 } as const;
/** Feed-forward of a dense layer; a layer of the mixture has as much in 16 slabs, of which a token uses four. */
const DENSE_WIDTH = 4096;
const SLABS = { slabsPerLayer: 16, slabsPerToken: 4, slabWidth: 1024 };
const BYTES_OF_WEIGHT = 34 / 32;
const SEED = 1;
/** Of a prompt and its answer. */
const SPARE_TOKENS = 16;
/** Words are up to three tokens where a vocabulary is small. */
const MOST_TOKENS_PER_WORD = 4;
/** Bundled models hold few tokens. */
const SMALL_PROMPT = 60;

/** Adds `bench engine`: what our engines cost over llama.cpp's library, and how soon a text begins. */
export function registerBenchEngine(bench: Command): void {
  bench
    .command('engine')
    .description(
      'tokens a second of the ordinary and the slab-aware engine against llama.cpp’s own library driven directly, taking ' +
        'turns; time to the first text cold, warm and after a known beginning; several answers at once; memory without a model (Linux). Measures two ' +
        'bundled models and two that it makes and removes',
    )
    .argument('[files...]', 'GGUF files to measure instead')
    .option('--size <bytes>', 'size of the models that are made', bytesOption, 330e6)
    .option('--turns <n>', 'turns of each', positiveInteger, 6)
    .option('--tokens <n>', 'tokens of an answer at most', positiveInteger, 48)
    .option('--prompt <n>', 'words of a prompt', positiveInteger, 120)
    .option('--threads <n>', 'threads that compute, of all', positiveInteger, 1)
    .option('--folder <dir>', 'where models are made (default: the system’s folder for temporary files)')
    .option('--json', 'print one JSON document')
    .action(async (files: readonly string[], options: Options) => benchEngine(files, options));
}

async function benchEngine(files: readonly string[], options: Options): Promise<void> {
  if (process.platform !== 'linux') {
    throw new FleetError('engine.unavailable', `bench engine: only on Linux, this is ${process.platform}`);
  }
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort(new FleetError('job.cancelled', 'interrupted; all is removed'));
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, interrupt);
  const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'fleetgate-bench-engine-'));
  const around: Surroundings = {
    clock: systemClock,
    random: new SeededRandom(SEED),
    tell: (text) => process.stderr.write(`${text}\n`),
    signal: interrupted.signal,
  };
  try {
    const subjects =
      files.length > 0
        ? await Promise.all(files.map((file) => given(resolve(file), options)))
        : [...bundled(options), ...(await made(folder, options, around))];
    const report = await measure(subjects, options, around);
    process.stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : reportText(report));
  } finally {
    await rm(folder, { recursive: true, force: true });
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, interrupt);
  }
}

async function measure(
  subjects: readonly Subject[],
  { threads }: Options,
  around: Surroundings,
): Promise<EngineReport> {
  const empty = await emptyChildren(around.clock);
  const speeds: SpeedFigure[] = [];
  const firstTokens: FirstTokenFigure[] = [];
  const together: TogetherFigure[] = [];
  for (const subject of subjects) {
    speeds.push(...speedFigures(subject.name, await measureSpeed(subject, around)));
    for (const hosts of ['models', 'slabs'] as const) {
      const measured = await measureFirstTokens(subject, hosts, around);
      firstTokens.push(firstTokenFigure(subject.name, hosts, measured));
      together.push(...(await measureTogether(subject, hosts, around)));
    }
  }
  const notes = [
    `${threads} thread${threads === 1 ? '' : 's'}, greedy; ratios are medians of the turns’, with the lowest and highest`,
    'the library reads a prompt 512 tokens at once, ours 256: sums in another order, so texts may part after a while',
    'the slab-aware engine computes with weights as the file has them; the others let llama.cpp repack them where it can',
    'with slabs on storage and by task: bench first-token',
  ];
  const emptyChildBytes = { ordinary: empty.models ?? null, slabAware: empty.slabs ?? null };
  return { speeds, firstTokens, together, emptyChildBytes, notes };
}

function bundled({ turns, tokens, prompt, threads }: Options): readonly Subject[] {
  const common = { promptWords: Math.min(prompt, SMALL_PROMPT), tokens, turns, threads, contextTokens: 320 };
  return ['generalist', 'moe'].map((expert) => ({
    ...common,
    name: `${expert}, bundled`,
    path: join(EXPERTS, expert, `${expert}-q8_0.gguf`),
  }));
}

async function made(folder: string, options: Options, { tell, signal }: Surroundings): Promise<readonly Subject[]> {
  const { embedding } = SHAPE;
  // Queries and outputs, keys and values (a quarter of the heads), and the feed-forward.
  const attention = 2.5 * embedding * embedding;
  const dense = BYTES_OF_WEIGHT * (attention + 3 * embedding * DENSE_WIDTH);
  const mixture = BYTES_OF_WEIGHT * (attention + 3 * embedding * SLABS.slabWidth * SLABS.slabsPerLayer);
  const layers = (bytes: number): number => Math.max(1, Math.round(options.size / bytes));
  const models = [
    {
      name: 'dense',
      shape: {
        architecture: 'llama',
        layers: layers(dense),
        slabsPerLayer: 0,
        slabsPerToken: 0,
        slabWidth: DENSE_WIDTH,
      },
    },
    { name: 'mixture', shape: { architecture: 'qwen3moe', layers: layers(mixture), ...SLABS } },
  ];
  const subjects: Subject[] = [];
  for (const { name, shape } of models) {
    const path = join(folder, `${name}.gguf`);
    tell(`making the ${name} model`);
    const bytes = await writeSynth(synthModel({ ...SHAPE, ...shape }), SEED, path, signal);
    subjects.push({ ...subject(path, options), name: `${name} ${Math.round(bytes / 1e6)} MB, made` });
  }
  return subjects;
}

async function given(path: string, options: Options): Promise<Subject> {
  const wanted = subject(path, options);
  const { contextTokens } = await readModelFacts(path);
  const { size } = await stat(path);
  const fitting = Math.floor((Math.min(wanted.contextTokens, contextTokens) - options.tokens) / MOST_TOKENS_PER_WORD);
  return {
    ...wanted,
    name: `${basename(path)} ${Math.round(size / 1e6)} MB`,
    contextTokens: Math.min(wanted.contextTokens, contextTokens),
    promptWords: Math.max(1, Math.min(options.prompt, fitting)),
  };
}

function subject(path: string, { prompt, tokens, turns, threads }: Options): Omit<Subject, 'name'> {
  const contextTokens = MOST_TOKENS_PER_WORD * prompt + tokens + SPARE_TOKENS;
  return { path, contextTokens, promptWords: prompt, tokens, turns, threads };
}
