import { SeededRandom } from '@fleetgate/shared/random';
import { type Command, InvalidArgumentError } from 'commander';

import { slabBytesOf } from '../gguf/slab-layout.js';
import { batchTokensWithin } from '../residency/residency-choice.js';
import { embeddedProfile } from '../slabs/embedded-profile.js';
import { importanceOf } from '../slabs/importance.js';
import { patternLikeness } from '../slabs/task-patterns.js';
import { type BatchingFigures, type RoutedText, runBatching } from './bench-batching-run.js';
import { positiveInteger } from './slab-profile.js';
import { SlabSession } from './slab-session.js';
import { readTexts, type SlabText, taskFiles } from './slab-texts.js';

interface Options {
  readonly texts: string;
  readonly docs: number;
  readonly maxTokens: number;
  readonly resident: readonly number[];
  readonly atOnce: readonly number[];
  readonly waiting: number;
  readonly seed: number;
  readonly threads: number;
  readonly json?: boolean;
}

interface Row {
  readonly residentShare: number;
  readonly atOnce: number;
  readonly arrival: BatchingFigures;
  readonly sharing: BatchingFigures;
}

const MOST_BATCH = 256;

/** Adds `bench batching`: what starting jobs by the slabs that they share saves. */
export function registerBenchBatching(bench: Command): void {
  bench
    .command('batching')
    .description('bytes read a token when jobs of several tasks wait: first come first served, and by slabs they share')
    .argument('<file>')
    .requiredOption('--texts <dir>', 'folder of .jsonl or .txt files, one a task, named after it')
    .option('--docs <n>', 'texts of each task: a job each, in random order', positiveInteger, 20)
    .option('--max-tokens <n>', 'tokens of a text', positiveInteger, 320)
    .option('--resident <list>', 'slabs in memory, in per cent', shares, [25, 40, 60])
    .option('--at-once <list>', 'answers at once', counts, [1, 2, 4])
    .option('--waiting <n>', 'jobs that wait', positiveInteger, 16)
    .option('--seed <n>', 'seed of the order', positiveInteger, 1)
    .option('--threads <n>', 'threads', positiveInteger, 1)
    .option('--json', 'print one JSON document')
    .action(batching);
}

async function batching(file: string, options: Options): Promise<void> {
  const files = await taskFiles(options.texts);
  const session = await SlabSession.open(file, options);
  try {
    const { layout } = session;
    const texts: RoutedText[] = [];
    for (const [task, path] of files) {
      for (const text of await readTexts(path, options.docs)) texts.push(...routedTexts(session, task, text));
    }
    const order = shuffled(texts, options.seed);
    const sharing = sharingOf(session);
    const slabBytes = layout.layers.map(slabBytesOf);
    const rows: Row[] = [];
    for (const percent of options.resident) {
      const capacityBytes = Math.floor((percent / 100) * layout.slabsBytes);
      const shape = { slabsPerLayer: layout.slabsPerLayer, slabBytes, capacityBytes };
      const batchTokens = batchTokensWithin(capacityBytes, layout, MOST_BATCH);
      for (const atOnce of options.atOnce) {
        if (batchTokens < 1) continue;
        const course = { texts: order, shape, atOnce, batchTokens, waiting: options.waiting };
        const arrival = await runBatching({ ...course, sharing: undefined });
        rows.push({
          residentShare: percent / 100,
          atOnce,
          arrival,
          sharing: await runBatching({ ...course, sharing }),
        });
      }
    }
    const result = { file, tasks: [...files.keys()], jobs: order.length, waiting: options.waiting, rows };
    process.stdout.write(options.json === true ? `${JSON.stringify(result)}\n` : textOf(result));
  } finally {
    session.close();
  }
}

function routedTexts(session: SlabSession, task: string, text: SlabText): readonly RoutedText[] {
  const { layers, slabsPerLayer, slabsPerToken } = session.layout;
  const prompt = 'prompt' in text ? session.documents([{ ...text, completion: '' }])[0] : undefined;
  return session.documents([text]).map((document) => {
    const tokens = document.length - 1;
    const routed = layers.map(() => ({
      slabs: new Int32Array(tokens * slabsPerToken),
      probabilities: new Float32Array(tokens * slabsPerLayer),
    }));
    session.evaluate(document, ({ layer, slabs, probabilities }, start) => {
      routed[layer]?.slabs.set(slabs, start * slabsPerToken);
      if (probabilities !== undefined) routed[layer]?.probabilities.set(probabilities, start * slabsPerLayer);
    });
    // Plain text is answered from its middle on.
    const common = prompt?.findIndex((token, i) => token !== document[i]) ?? Math.ceil(tokens / 2);
    const promptTokens = Math.max(1, Math.min(tokens, common < 0 ? tokens : common));
    return { task, tokens, promptTokens, slabsPerToken, layers: routed };
  });
}

/** As the agent has it: classes share wholly with themselves, and what the model's own patterns say with others. */
function sharingOf(session: SlabSession): (one: string, other: string) => number {
  const profile = embeddedProfile(session.header, session.path);
  if (profile === undefined) return (one, other) => (one === other ? 1 : 0);
  const names = Object.keys(profile.tasks);
  const { tasks, likeness } = patternLikeness(
    names.map((task) => ({ task, importance: importanceOf(profile, [task], 'tcess') })),
  );
  return (one, other) => (one === other ? 1 : (likeness[tasks.indexOf(one)]?.[tasks.indexOf(other)] ?? 0));
}

function shuffled<T>(values: readonly T[], seed: number): readonly T[] {
  const random = new SeededRandom(seed);
  return values
    .map((value) => ({ value, at: random.uniform() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ value }) => value);
}

function textOf({ jobs, tasks, rows }: { jobs: number; tasks: readonly string[]; rows: readonly Row[] }): string {
  const kb = (bytes: number): string => `${(bytes / 1e3).toFixed(1)} kB`;
  const lines = rows.map(({ residentShare, atOnce, arrival, sharing }) => {
    const change = (100 * (sharing.bytesPerToken / arrival.bytesPerToken - 1)).toFixed(1);
    return (
      `  ${(100 * residentShare).toFixed(0)} % in memory, ${atOnce} at once: ${kb(arrival.bytesPerToken)} a token first come ` +
      `first served, ${kb(sharing.bytesPerToken)} by shared slabs (${change} %)\n`
    );
  });
  return `${jobs} jobs of ${tasks.join(', ')}\n${lines.join('')}`;
}

function shares(text: string): readonly number[] {
  return listOf(text, (value) => value > 0 && value <= 100, 'per cent above 0, up to 100');
}

function counts(text: string): readonly number[] {
  return listOf(text, (value) => Number.isSafeInteger(value) && value >= 1 && value <= 64, 'integers from 1 to 64');
}

function listOf(text: string, isValid: (value: number) => boolean, expected: string): readonly number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (!values.every(isValid)) throw new InvalidArgumentError(`expected ${expected}, separated by commas`);
  return values;
}
