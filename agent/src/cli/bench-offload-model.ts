import { join } from 'node:path';

import { FleetError } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';

import { writeSynth } from '../gguf/disk-synth.js';
import { type SlabLayout, slabBytesOf, slabLayout } from '../gguf/slab-layout.js';
import { synthModel } from '../gguf/synth.js';
import { topicText } from '../gguf/synth-topics.js';
import { frequenciesOf } from '../slabs/cache-simulation.js';
import { BenchProcess } from './bench-offload-process.js';
import { forgetFile, slabsOf, type Tell } from './bench-offload-run.js';
import { type BenchStorage, openSandbox } from './bench-offload-sandbox.js';

/** The mixture that is measured with. */
export interface Model {
  readonly path: string;
  readonly copy: string;
  readonly layout: SlabLayout;
  /** Uses per token of each slab in another text than the one that is measured. */
  readonly frequencies: readonly number[];
}

const SHAPE = { slabsPerLayer: 64, slabsPerToken: 4, embedding: 1024, slabWidth: 768, heads: 16 };
/** Of such a layer: 64 slabs of 2.5 MB, and attention. */
const LAYER_BYTES = 163_700_000;
const PROFILE_TOKENS = 300;
const PROFILE_SEED = 2;

/** Of the model, and of the text that is measured. */
export const SEED = 1;

/** Throws as `writeSynth` does. */
export async function makeModel(
  size: number,
  storage: BenchStorage,
  withCopy: boolean,
  tell: Tell,
  signal: AbortSignal,
): Promise<Model> {
  const layers = Math.max(2, Math.round(size / LAYER_BYTES));
  const synthetic = synthModel({ ...SHAPE, architecture: 'qwen3moe', layers, type: 'q8_0', seed: SEED });
  const path = join(storage.folder, 'model.gguf');
  tell('making the model');
  await writeSynth(synthetic, SEED, path, signal);
  const copy = withCopy ? join(storage.folder, 'copy.gguf') : path;
  if (withCopy) await writeSynth(synthetic, SEED, copy, signal);
  const layout = slabLayout(await readGguf(path), path);
  if (layout === undefined) throw new FleetError('internal.invariant', 'the model that was made has no slabs');
  tell('profiling another text');
  const frequencies = await profile(path, layout, storage, topicText(PROFILE_SEED, PROFILE_TOKENS), signal);
  return { path, copy, layout, frequencies };
}

/** Uses of slabs in another text, as a task's profile would have them; without caps, and forgotten by the kernel after. */
async function profile(
  path: string,
  { slabsPerLayer, layers }: SlabLayout,
  { device }: BenchStorage,
  tokens: readonly number[],
  signal: AbortSignal,
): Promise<readonly number[]> {
  const process_ = await BenchProcess.start(
    await openSandbox(`fleetgate-bench-${process.pid}-profile`, undefined, device),
  );
  try {
    const contextTokens = tokens.length;
    await process_.ask(
      { kind: 'open', path, variant: 'none', budgetBytes: 0, batchTokens: 1, contextTokens, threads: 1 },
      signal,
    );
    const { trace = [] } = await process_.ask({ kind: 'decode', tokens, trace: true }, signal);
    const shape = { slabsPerLayer, slabBytes: layers.map(slabBytesOf), capacityBytes: 0 };
    return [...frequenciesOf(slabsOf(trace), shape)];
  } finally {
    await process_.close();
    await forgetFile(path);
  }
}
