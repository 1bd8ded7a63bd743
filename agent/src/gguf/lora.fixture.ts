import { writeFileSync } from 'node:fs';

import { FleetError } from '@fleetgate/shared/errors';
import { ggmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import { SeededRandom } from '@fleetgate/shared/random';

import { encodeHeader, type MetadataValue, padding, tensorBytes } from './assembly.js';

const ALIGNMENT = 32;
const RANK = 4;

interface LoraOptions {
  readonly seed?: number;
  readonly deviation?: number;
  /** Of the second half; other than 4 it does not fit the first. */
  readonly rank?: number;
  readonly metadata?: Readonly<Record<string, MetadataValue>>;
}

/** Writes a real LoRA adapter of random numbers for some weights of a model. */
export function writeLora(path: string, base: GgufHeader, weights: readonly string[], options: LoraOptions = {}): void {
  const { seed = 1, deviation = 0.2, rank = RANK, metadata = {} } = options;
  const random = new SeededRandom(seed);
  const type = ggmlType(0);
  if (type === undefined) throw new FleetError('internal.invariant', 'F32 is a known type');
  const tensors = weights.flatMap((name) => {
    const [columns = 1, rows = 1] = base.tensors.find((tensor) => tensor.name === name)?.dimensions ?? [8, 8];
    return [
      { name: `${name}.lora_a`, dimensions: [columns, RANK] },
      { name: `${name}.lora_b`, dimensions: [rank, rows] },
    ].map(({ name: part, dimensions }) => {
      const byteLength = 4 * dimensions.reduce((all, one) => all * one, 1);
      return { name: part, dimensions, type, pieces: [{ path: '', offset: 0, byteLength }] };
    });
  });
  const architecture = base.metadata.get('general.architecture')?.value;
  const values = new Map<string, MetadataValue>([
    ['general.type', 'adapter'],
    ['general.architecture', typeof architecture === 'string' ? architecture : ''],
    ['adapter.type', 'lora'],
    ['adapter.lora.alpha', { float32: RANK }],
    ...Object.entries(metadata),
  ]);
  const parts = [Buffer.from(encodeHeader([], values, tensors, ALIGNMENT))];
  for (const tensor of tensors) {
    const numbers = Float32Array.from(
      { length: tensorBytes(tensor) / 4 },
      () => 2 * deviation * (random.uniform() - 0.5),
    );
    parts.push(Buffer.from(numbers.buffer), Buffer.alloc(padding(numbers.byteLength, ALIGNMENT)));
  }
  writeFileSync(path, Buffer.concat(parts));
}
