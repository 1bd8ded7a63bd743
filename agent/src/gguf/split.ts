import { FleetError } from '@fleetgate/shared/errors';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { type AssembledTensor, takenTensor } from './assembly.js';

/** One file of a model that is split over several (llama.cpp's `gguf-split`). */
export interface SplitPart {
  readonly path: string;
  readonly header: GgufHeader;
}

/** Metadata of a part that the whole model has no use for. */
export const SPLIT_KEYS: readonly string[] = ['split.no', 'split.count', 'split.tensors.count'];

const PART_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s;
/** More files than any model is split over. */
const MOST_PARTS = 4096;

/** Paths of all parts, from that of any of them, in order. Throws `gguf.malformed` for a path that names no part. */
export function splitPaths(path: string): readonly string[] {
  const [, stem, own, all] = PART_NAME.exec(path) ?? [];
  const count = Number(all);
  if (stem === undefined || count < 1 || count > MOST_PARTS || Number(own) < 1 || Number(own) > count) {
    throw new FleetError('gguf.malformed', `${path}: the name is of no part of a split model`, {
      hint: 'parts are named like model-00001-of-00003.gguf, all in one folder',
    });
  }
  const number = (value: number): string => String(value).padStart(5, '0');
  return Array.from({ length: count }, (_, i) => `${stem}-${number(i + 1)}-of-${number(count)}.gguf`);
}

/**
 * The tensors of all parts, in order. Throws `gguf.malformed` where the files are not the parts of one model, each once, in
 * that order.
 */
export function joinedTensors(parts: readonly SplitPart[]): readonly AssembledTensor[] {
  const [first] = parts;
  if (first === undefined) throw new FleetError('internal.invariant', 'a model without parts');
  const total = numberOf(first, 'split.tensors.count');
  const architecture = first.header.metadata.get('general.architecture')?.value;
  const names = new Map<string, string>();
  for (const [i, part] of parts.entries()) {
    expectNumber(part, 'split.count', parts.length);
    expectNumber(part, 'split.no', i);
    if (total !== undefined) expectNumber(part, 'split.tensors.count', total);
    const its = part.header.metadata.get('general.architecture')?.value;
    if (its !== undefined && its !== architecture)
      throw fault(part, 'it is of another architecture than the first part');
    for (const { name } of part.header.tensors) {
      const other = names.get(name);
      if (other !== undefined) throw fault(part, `its tensor ${name} is in ${other} as well`);
      names.set(name, part.path);
    }
  }
  if (total !== undefined && names.size !== total) {
    throw fault(first, `${names.size} tensors are in the ${parts.length} parts, expected ${total}`);
  }
  return parts.flatMap(({ path, header }) =>
    header.tensors.map((tensor) => takenTensor(tensor, path, () => undefined)),
  );
}

function expectNumber(part: SplitPart, key: string, expected: number): void {
  const found = numberOf(part, key);
  if (found !== expected) throw fault(part, `${key} is ${found ?? 'missing'}, expected ${expected}`);
}

function numberOf({ header }: SplitPart, key: string): number | undefined {
  const value = header.metadata.get(key)?.value;
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined;
}

function fault({ path }: SplitPart, what: string): FleetError {
  return new FleetError('gguf.malformed', `${path}: ${what}`, {
    hint: 'the parts are not of one model, or one is there twice: download all of them anew into one folder',
  });
}
