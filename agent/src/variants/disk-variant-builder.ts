import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { FleetError, isFleetError } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import type { GgmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { type MetadataValue, takenTensor } from '../gguf/assembly.js';
import { writeAssembly } from '../gguf/disk-assembly.js';
import { pruning } from '../gguf/prune.js';
import { slabLayout } from '../gguf/slab-layout.js';
import { withProfile } from '../slabs/disk-pruned-profile.js';
import type { KeepSets } from '../slabs/routing.js';
import { fileTypeOf } from './file-type.js';
import { quantiseFile } from './process-quantise.js';
import { givenType, quantisable, sizeAs } from './tensor-types.js';
import { BUILD_ALIGNMENT, type VariantSpec } from './variant-space.js';

export interface BuilderOptions {
  readonly path: string;
  readonly header: GgufHeader;
  /** Written to every build, so that it tells where it came from. */
  readonly sha256: string;
  /** Where the model is kept in each of the types: about its size for each of them. */
  readonly folder: string;
  readonly threads: number;
}

/** The slabs that stay, by layer that has slabs, and what they were chosen by. */
export interface KeptSlabs {
  readonly sets: KeepSets;
  readonly score: string;
  readonly task: string;
}

export interface BuildOrder {
  readonly spec: VariantSpec;
  /** Absent: all stay. */
  readonly kept?: KeptSlabs | undefined;
  readonly how: string;
  readonly output: string;
}

/** What llama.cpp reads; the alignment that it quantises rightly. */
const QUANTISING_ALIGNMENT = 32;
/** `GGML_QNT_VERSION`: of the block layouts. */
const QUANTISATION_VERSION = 2;

/**
 * Builds variants of one model. The model is quantised once to each type; a build then takes each tensor, or the slabs
 * that stay of it, from the file of its type, which gives the same bytes as pruning and quantising anew would.
 */
export class VariantBuilder {
  readonly #options: BuilderOptions;
  readonly #bank = new Map<number, { readonly path: string; readonly header: GgufHeader }>();

  constructor(options: BuilderOptions) {
    this.#options = options;
  }

  /**
   * Quantises the model to each type, where it is not there from before and gives anything new. `tell` is told of each that
   * is begun.
   */
  async prepare(types: readonly GgmlType[], tell: (line: string) => void, signal: AbortSignal): Promise<void> {
    const { folder, header } = this.#options;
    await mkdir(folder, { recursive: true });
    const seen = new Set([
      quantisable(header)
        .map(({ type }) => type.id)
        .join(','),
    ]);
    for (const type of types) {
      const given = quantisable(header).map((tensor) => givenType(tensor, type).id);
      if (seen.has(given.join(','))) continue;
      seen.add(given.join(','));
      const path = join(folder, `${type.name.toLowerCase()}.gguf`);
      const present = await headerIfThere(path);
      this.#bank.set(type.id, { path, header: present ?? (await this.#quantise(type, path, tell, signal)) });
    }
  }

  async build({ spec, kept, how, output }: BuildOrder, signal: AbortSignal): Promise<void> {
    const { path, header, sha256 } = this.#options;
    const layout = slabLayout(header, path);
    const indexOf = new Map((layout?.layers ?? []).map(({ layer }, i) => [layer, i]));
    const keptOf = (layer: number): readonly number[] | undefined => kept?.sets[indexOf.get(layer) ?? -1];
    const tensors = header.tensors.map((tensor) => {
      const type = spec.types.get(tensor.name) ?? tensor.type;
      const source = type.id === tensor.type.id ? { path, tensor } : this.#banked(tensor.name, type);
      return takenTensor(source.tensor, source.path, keptOf);
    });
    const pruned =
      kept === undefined || layout === undefined
        ? undefined
        : await withProfile(
            header,
            kept.sets,
            pruning(path, header, layout, kept.sets, { source: sha256, score: kept.score, task: kept.task }),
          );
    const changes = new Map<string, MetadataValue>([
      ...(pruned?.changes ?? []),
      ['fleetgate.variant.source', sha256],
      ['fleetgate.variant.how', how],
      ['general.quantization_version', { uint32: QUANTISATION_VERSION }],
      ['general.file_type', { uint32: fileTypeOf(tensors) }],
    ]);
    await writeAssembly({ base: { path, header }, changes, tensors, alignment: BUILD_ALIGNMENT, output }, signal);
  }

  #banked(name: string, type: GgmlType) {
    const file = [...this.#bank.values()].find(({ header }) =>
      header.tensors.some((tensor) => tensor.name === name && tensor.type.id === type.id),
    );
    const tensor = file?.header.tensors.find((one) => one.name === name);
    if (file !== undefined && tensor !== undefined) return { path: file.path, tensor };
    throw new FleetError('internal.invariant', `tensor ${name} was not quantised to ${type.name}`);
  }

  async #quantise(
    type: GgmlType,
    output: string,
    tell: (line: string) => void,
    signal: AbortSignal,
  ): Promise<GgufHeader> {
    const { header, threads, path } = this.#options;
    tell(`quantising to ${type.name.toLowerCase()}`);
    const steps = new ProgressSteps((percent) => tell(`quantising to ${type.name.toLowerCase()}: ${percent} %`));
    const tensors = quantisable(header);
    const typeByTensor = new Map(tensors.map((tensor) => [tensor.name, givenType(tensor, type).id]));
    const expectedBytes = tensors.reduce(
      (sum, tensor) => sum - tensor.byteLength + sizeAs(tensor, givenType(tensor, type)),
      header.fileBytes,
    );
    const request = { output, typeByTensor, threads, expectedBytes };
    return withAlignment(path, header, output, signal, async (input) =>
      quantiseFile({ ...request, input }, (done, all) => steps.reached(done, all), signal),
    );
  }
}

/**
 * Runs `use` with a file that llama.cpp quantises rightly: the model itself, or a copy with alignment 32 beside `near`,
 * which is removed afterwards.
 */
export async function withAlignment<T>(
  path: string,
  header: GgufHeader,
  near: string,
  signal: AbortSignal,
  use: (input: string) => Promise<T>,
): Promise<T> {
  if (header.alignment === QUANTISING_ALIGNMENT) return use(path);
  const copy = `${near}.aligned`;
  try {
    const tensors = header.tensors.map((tensor) => takenTensor(tensor, path, () => undefined));
    const base = { path, header };
    await writeAssembly({ base, changes: new Map(), tensors, alignment: QUANTISING_ALIGNMENT, output: copy }, signal);
    return await use(copy);
  } finally {
    await rm(copy, { force: true });
  }
}

/** Tells of every quarter, once. */
class ProgressSteps {
  readonly #tell: (percent: number) => void;
  #told = 0;

  constructor(tell: (percent: number) => void) {
    this.#tell = tell;
  }

  reached(done: number, all: number): void {
    const quarters = Math.floor((4 * done) / all);
    if (quarters <= this.#told || quarters >= 4) return;
    this.#told = quarters;
    this.#tell(25 * quarters);
  }
}

async function headerIfThere(path: string): Promise<GgufHeader | undefined> {
  try {
    return await readGguf(path);
  } catch (error) {
    if (isFleetError(error, 'artefact.unavailable')) return undefined;
    throw error;
  }
}
