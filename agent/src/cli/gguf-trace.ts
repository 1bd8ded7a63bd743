import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

import type { TraceDocument, TraceHeader } from '../slabs/trace.js';
import { positiveInteger } from './slab-profile.js';
import { type SlabDocument, SlabSession } from './slab-session.js';
import { readTexts } from './slab-texts.js';

interface TraceOptions {
  readonly text: string;
  readonly docs?: number;
  readonly maxTokens: number;
  readonly out: string;
  readonly threads: number;
  readonly json?: boolean;
}

/** Adds `gguf trace`: the slabs of every token and layer. */
export function registerGgufTrace(gguf: Command): void {
  gguf
    .command('trace')
    .description('write down the slabs that the router chooses for every token in every layer')
    .argument('<file>')
    .requiredOption('--text <file>', '.jsonl of {prompt, completion}, or .txt')
    .option('--docs <n>', 'documents (default: all)', positiveInteger)
    .option('--max-tokens <n>', 'tokens of a document', positiveInteger, 320)
    .requiredOption('--out <file>', 'trace to write (.jsonl.gz)')
    .option('--threads <n>', 'threads', positiveInteger, 1)
    .option('--json', 'print a summary as JSON')
    .action(trace);
}

async function trace(file: string, options: TraceOptions): Promise<void> {
  const texts = await readTexts(options.text, options.docs);
  const session = await SlabSession.open(file, options);
  const part = `${options.out}.part`;
  let tokens = 0;
  try {
    const documents = session.documents(texts, options.docs);
    const { architecture, layers, slabsPerLayer, slabsPerToken, slabBytes, slabsBytes, otherBytes } = session.layout;
    const model = { architecture, layers: layers.map(({ layer }) => layer), slabsPerLayer, slabsPerToken };
    const header: TraceHeader = {
      schema: 'fleetgate-trace/1',
      model: { ...model, slabBytes, slabsBytes, otherBytes },
    };
    const lines = function* (): Generator<string> {
      yield `${JSON.stringify(header)}\n`;
      for (const [i, document] of documents.entries()) {
        const traced: TraceDocument = { document: i, slabs: routed(session, document) };
        tokens += traced.slabs.length;
        yield `${JSON.stringify(traced)}\n`;
      }
    };
    await pipeline(lines(), createGzip(), createWriteStream(part)).catch((cause: unknown) => {
      throw new FleetError('usage.invalid', `${options.out} cannot be written: ${messageOf(cause)}`, { cause });
    });
    await rename(part, options.out);
    const summary = { file: options.out, documents: documents.length, tokens, layers: layers.length, slabsPerToken };
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify(summary)}\n`
        : `${options.out}: ${tokens} tokens of ${documents.length} documents, ${layers.length} layers of ${slabsPerToken} slabs\n`,
    );
  } finally {
    session.close();
    await rm(part, { force: true });
  }
}

function routed(session: SlabSession, document: SlabDocument): number[][][] {
  const slabs: number[][][] = Array.from({ length: document.length - 1 }, () => []);
  session.evaluate(document, (layer, start) => {
    for (let t = 0; t < layer.tokens; t++) {
      const chosen = layer.slabs.subarray(t * layer.slabsPerToken, (t + 1) * layer.slabsPerToken);
      const token = slabs[start + t];
      if (token !== undefined) token[layer.layer] = [...chosen];
    }
  });
  return slabs;
}
