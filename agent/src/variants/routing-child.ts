/**
 * The process that counts how often each slab of a model is chosen on texts. It is sent a RoutingRequest, answers over IPC
 * (`FromErrand`), and ends.
 */
import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';

import { Prompts } from '../engine/prompt-tokens.js';
import { SlabModel } from '../engine/slab-model.js';
import { SlabVocabulary } from '../engine/slab-vocabulary.js';
import { slabLayout } from '../gguf/slab-layout.js';
import { openLlamaLibrary } from '../native/llama-library.js';
import type { SlabCounts } from './kept-slabs.js';
import type { TaskTexts } from './engine-scorer.js';

export interface RoutingRequest {
  readonly path: string;
  readonly contextTokens: number;
  readonly threads: number;
  readonly tasks: readonly TaskTexts[];
}

const BATCH_TOKENS = 256;

function send(message: object): void {
  if (process.connected) process.send?.(message);
}

async function count({ path, contextTokens, threads, tasks }: RoutingRequest): Promise<SlabCounts> {
  const library = await openLlamaLibrary();
  const header = await readGguf(path);
  const layout = slabLayout(header, path);
  const batchTokens = Math.min(BATCH_TOKENS, contextTokens);
  const options = { path, layout, contextTokens, sequences: 1, threads, batchTokens };
  const model = SlabModel.open(library, options);
  const vocabulary = new SlabVocabulary(library, model.vocab, header);
  const prompts = new Prompts(vocabulary);
  const total = tasks.reduce((sum, { pairs }) => sum + pairs.length, 0);
  const counts: Record<string, readonly (readonly number[])[]> = {};
  let done = 0;
  for (const { task, pairs } of tasks) {
    const ofTask = (layout?.layers ?? []).map(() =>
      Array.from<unknown, number>({ length: layout?.slabsPerLayer ?? 0 }, () => 0),
    );
    model.listener = {
      probabilities: false,
      onRouted: ({ layer, slabs }) => {
        const ofLayer = ofTask[layer];
        if (ofLayer !== undefined) for (const slab of slabs) ofLayer[slab] = (ofLayer[slab] ?? 0) + 1;
      },
    };
    for (const { prompt, completion } of pairs) {
      const { tokens } = prompts.tokensOf({ kind: 'chat', messages: [{ role: 'user', content: prompt }] });
      const document = [...tokens, ...vocabulary.tokenise(` ${completion}`, 'plain')].slice(0, contextTokens);
      model.forget(0, 0);
      // An output of every token: the last layer routes only those that lead to one.
      const batch = document.map((token, position) => ({ token, position, sequence: 0, output: true }));
      for (let at = 0; at < batch.length; at += batchTokens) model.evaluate(batch.slice(at, at + batchTokens));
      send({ kind: 'progress', done: ++done, total });
    }
    counts[task] = ofTask;
  }
  model.close();
  return counts;
}

async function run(request: RoutingRequest): Promise<void> {
  try {
    send({ kind: 'done', result: await count(request) });
  } catch (error) {
    const hint = isFleetError(error) ? error.hint : undefined;
    const code = isFleetError(error) ? error.code : 'engine.crashed';
    send({ kind: 'failed', error: { code, message: messageOf(error), ...(hint === undefined ? {} : { hint }) } });
  }
  process.disconnect?.();
}

process.on('disconnect', () => process.exit(0));
process.once('message', (request) => void run(request as RoutingRequest));
