/**
 * The process that profiles how the router of a model chooses on texts. It is sent a RoutingRequest, answers over IPC
 * (`FromErrand`), and ends.
 */
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';

import { Prompts } from '../engine/prompt-tokens.js';
import { SlabModel } from '../engine/slab-model.js';
import { SlabVocabulary } from '../engine/slab-vocabulary.js';
import { routerDigest } from '../gguf/disk-router-digest.js';
import { slabLayout } from '../gguf/slab-layout.js';
import { openLlamaLibrary } from '../native/llama-library.js';
import { ProfileCount, type SlabProfile, type TaskProfile } from '../slabs/profile.js';
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

async function count({ path, contextTokens, threads, tasks }: RoutingRequest): Promise<SlabProfile> {
  const library = await openLlamaLibrary();
  const header = await readGguf(path);
  const layout = slabLayout(header, path);
  if (layout === undefined) throw new FleetError('gguf.unsupported', `${path} has no slabs`);
  const batchTokens = Math.min(BATCH_TOKENS, contextTokens);
  const options = { path, layout, contextTokens, sequences: 1, threads, batchTokens };
  const model = SlabModel.open(library, options);
  const vocabulary = new SlabVocabulary(library, model.vocab, header);
  const prompts = new Prompts(vocabulary);
  const { architecture, layers, slabsPerLayer, slabsPerToken } = layout;
  const total = tasks.reduce((sum, { pairs }) => sum + pairs.length, 0);
  const profiles: Record<string, TaskProfile> = {};
  let done = 0;
  for (const { task, pairs } of tasks) {
    const counted = new ProfileCount(layers.length, slabsPerLayer);
    for (const { prompt, completion } of pairs) {
      const { tokens } = prompts.tokensOf({ kind: 'chat', messages: [{ role: 'user', content: prompt }] });
      const document = [...tokens, ...vocabulary.tokenise(` ${completion}`, 'plain')].slice(0, contextTokens);
      const isReasoning = document.map(() => false);
      counted.document(isReasoning);
      model.forget(0, 0);
      // An output of every token: the last layer routes only those that lead to one.
      const batch = document.map((token, position) => ({ token, position, sequence: 0, output: true }));
      for (let at = 0; at < batch.length; at += batchTokens) {
        model.listener = { probabilities: true, onRouted: (routed) => counted.routed(routed, isReasoning, at) };
        model.evaluate(batch.slice(at, at + batchTokens));
      }
      send({ kind: 'progress', done: ++done, total });
    }
    profiles[task] = counted.result;
  }
  model.close();
  const router = await routerDigest(path, header);
  const shape = { architecture, router, layers: layers.length, slabsPerLayer, slabsPerToken };
  return { schema: 'fleetgate-profile/1', model: shape, tasks: profiles };
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
