import type { Command } from 'commander';

import type { KeepSets } from '../slabs/routing.js';
import { evaluateNearest, nearestText } from './nearest-mask.js';
import { keptBy, type KeepOptions, positiveInteger, withKeepOptions } from './slab-profile.js';
import { type DocumentBits, type SlabDocument, SlabSession } from './slab-session.js';
import { readTexts } from './slab-texts.js';

interface MaskEvalOptions extends KeepOptions {
  readonly text: string;
  readonly docs?: number;
  readonly maxTokens: number;
  readonly k?: number;
  readonly threads: number;
  readonly json?: boolean;
}

/** In place of a task: of each text the one that its prompt is like, as a task mask has it. */
const NEAREST = 'nearest';

/** Adds `gguf mask-eval`: what pruning would cost, before a file is written. */
export function registerGgufMaskEval(gguf: Command): void {
  withKeepOptions(
    gguf
      .command('mask-eval')
      .description(
        'bits per byte of texts with only some slabs in play (a mask at run time), or with all; with --task nearest with ' +
          'those of the task that each prompt is like, as a task mask serves it',
      )
      .argument('<file>'),
  )
    .requiredOption('--text <file>', '.jsonl of {prompt, completion}, or .txt')
    .option('--docs <n>', 'documents (default: all)', positiveInteger)
    .option('--max-tokens <n>', 'tokens of a document', positiveInteger, 320)
    .option('--k <n>', 'active slabs per token (default: as many as the file says)', positiveInteger)
    .option('--threads <n>', 'threads', positiveInteger, 1)
    .option('--json', 'print one JSON document')
    .action(maskEval);
}

async function maskEval(file: string, options: MaskEvalOptions): Promise<void> {
  const texts = await readTexts(options.text, options.docs);
  const session = await SlabSession.open(file, options);
  try {
    session.slabsPerToken = options.k;
    if (options.task === NEAREST) {
      const result = await evaluateNearest(session, texts, options);
      process.stdout.write(options.json === true ? `${JSON.stringify(result)}\n` : nearestText(file, result));
      return;
    }
    const kept = await keptBy(options, session);
    session.keep = kept;
    const documents = session.documents(texts, options.docs);
    const { bits, tokens, bytes } = bitsOfAll(session, documents);
    const result = { bitsPerByte: bits / bytes, tokens, bytes, keep: options.keep ?? null, kept: kept ?? null };
    if (options.json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
    else process.stdout.write(textOf(file, documents.length, result));
  } finally {
    session.close();
  }
}

/** Bits of all documents together. */
export function bitsOfAll(session: SlabSession, documents: readonly SlabDocument[]): DocumentBits {
  const total = { bits: 0, tokens: 0, bytes: 0 };
  for (const document of documents) {
    const { bits, tokens, bytes } = session.evaluate(document);
    total.bits += bits;
    total.tokens += tokens;
    total.bytes += bytes;
  }
  return total;
}

function textOf(
  file: string,
  documents: number,
  result: { readonly bitsPerByte: number; readonly tokens: number; readonly kept: KeepSets | null },
): string {
  const { bitsPerByte, tokens, kept } = result;
  const rows = (kept ?? []).map((slabs, layer) => `  layer ${layer} keeps ${slabs.join(' ')}\n`).join('');
  return `${file}: ${bitsPerByte.toFixed(4)} bits per byte over ${documents} documents (${tokens} tokens)\n${rows}`;
}
