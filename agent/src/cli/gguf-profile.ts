import type { Command } from 'commander';

import { routerDigest } from '../gguf/disk-router-digest.js';
import { ProfileCount, REASONING_WORDS, type SlabProfile, type TaskProfile } from '../slabs/profile.js';
import { positiveInteger, writeProfile } from './slab-profile.js';
import { SlabSession } from './slab-session.js';
import { readTexts, taskFiles } from './slab-texts.js';

interface ProfileOptions {
  readonly texts: string;
  readonly docs: number;
  readonly maxTokens: number;
  readonly reasoning?: readonly string[];
  readonly out: string;
  readonly threads: number;
  readonly json?: boolean;
}

/** Adds `gguf profile`: how the router chooses on texts of several tasks. */
export function registerGgufProfile(gguf: Command): void {
  gguf
    .command('profile')
    .description('count which slabs the router chooses on texts of each task: TCESS and frequency by layer and slab')
    .argument('<file>')
    .requiredOption('--texts <dir>', 'folder of .jsonl or .txt files, one a task, named after it')
    .option('--docs <n>', 'documents of each task', positiveInteger, 60)
    .option('--max-tokens <n>', 'tokens of a document', positiveInteger, 320)
    .option('--reasoning <words...>', 'words whose tokens count as reasoning (default: a list of English ones)')
    .requiredOption('--out <file>', 'profile to write (.json)')
    .option('--threads <n>', 'threads', positiveInteger, 1)
    .option('--json', 'print a summary as JSON')
    .action(profile);
}

async function profile(file: string, options: ProfileOptions): Promise<void> {
  const files = await taskFiles(options.texts);
  const session = await SlabSession.open(file, options);
  try {
    const { architecture, layers, slabsPerLayer, slabsPerToken } = session.layout;
    const words = new Set((options.reasoning ?? REASONING_WORDS).map((word) => word.toLowerCase()));
    const tasks: Record<string, TaskProfile> = {};
    for (const [task, path] of files) {
      const documents = session.documents(await readTexts(path, options.docs), options.docs);
      const count = new ProfileCount(layers.length, slabsPerLayer);
      for (const document of documents) {
        const isReasoning = document.slice(0, -1).map((token) => words.has(session.textOf(token).trim().toLowerCase()));
        session.evaluate(document, (routed, start) => count.routed(routed, isReasoning, start));
        count.document(isReasoning);
      }
      tasks[task] = count.result;
      process.stderr.write(`${task}: ${documents.length} documents, ${count.result.tokens} tokens\n`);
    }
    const router = await routerDigest(session.path, session.header);
    const model = { architecture, router, layers: layers.length, slabsPerLayer, slabsPerToken };
    const made: SlabProfile = { schema: 'fleetgate-profile/1', model, tasks };
    await writeProfile(options.out, made);
    print(options, made);
  } finally {
    session.close();
  }
}

function print({ out, json }: ProfileOptions, { model, tasks }: SlabProfile): void {
  const summary = Object.entries(tasks).map(([task, { documents, tokens, layers }]) => ({
    task,
    documents,
    tokens,
    /** Share of a layer's choices that fall on its most chosen quarter of slabs. */
    topQuarter: layers.map(({ frequency }) => {
      const total = frequency.reduce((sum, count) => sum + count, 0);
      const top = frequency.toSorted((a, b) => b - a).slice(0, Math.ceil(frequency.length / 4));
      return Number((top.reduce((sum, count) => sum + count, 0) / total).toFixed(3));
    }),
  }));
  if (json === true) {
    process.stdout.write(`${JSON.stringify({ file: out, model, tasks: summary })}\n`);
    return;
  }
  const lines = summary.map(
    ({ task, tokens, topQuarter }) =>
      `  ${task.padEnd(12)}${String(tokens).padStart(8)} tokens; share of the most chosen quarter by layer: ` +
      topQuarter.map((value) => value.toFixed(2)).join(' '),
  );
  process.stdout.write(`${out}: ${summary.length} tasks\n${lines.join('\n')}\n`);
}
