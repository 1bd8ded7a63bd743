import { z } from 'zod';

import { sha256Schema } from '@fleetgate/shared/catalogue/expert';
import { FleetError } from '@fleetgate/shared/errors';
import type { GgmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { type BudgetedChoice, chooseWithin } from './budgeted-choice.js';
import { bitsPerWeight, givenType, projectionGroups, quantisable, sizeAs, type TensorGroup } from './tensor-types.js';

export const sensitivitySchema = z.object({
  schema: z.literal('fleetgate-sensitivity/1'),
  source: sha256Schema,
  /** Bits per byte of the source, mean over tasks. */
  bitsPerByte: z.number().positive(),
  texts: z.number().int().positive(),
  groups: z.array(
    z.object({
      name: z.string(),
      options: z.array(
        z.object({
          type: z.string(),
          sizeBytes: z.number().int().positive(),
          /** Of the source with this group alone in that type. */
          bitsPerByte: z.number().positive(),
        }),
      ),
    }),
  ),
});
/** What a model loses when one layer and projection of it is stored in fewer bits, all else unchanged. */
export type Sensitivity = z.infer<typeof sensitivitySchema>;

/** One group in one of the types that it could have. */
export interface GroupOption {
  readonly group: TensorGroup;
  readonly name: string;
  readonly types: ReadonlyMap<string, GgmlType>;
  readonly sizeBytes: number;
}

/** For each layer and projection, as it is first and then narrower; options that come to the same bytes only once. */
export function groupOptions(header: GgufHeader, types: readonly GgmlType[]): readonly (readonly GroupOption[])[] {
  return projectionGroups(header).map((group) => {
    const original = optionOf(group, new Map(group.tensors.map((tensor) => [tensor.name, tensor.type])));
    const others = types.map((wanted) =>
      optionOf(group, new Map(group.tensors.map((tensor) => [tensor.name, givenType(tensor, wanted)]))),
    );
    const distinct = new Map([...others.toReversed(), original].map((option) => [option.name, option]));
    return [...distinct.values()].sort((a, b) => b.sizeBytes - a.sizeBytes);
  });
}

export interface TypePlan {
  readonly types: ReadonlyMap<string, GgmlType>;
  readonly typeByGroup: Readonly<Record<string, string>>;
  readonly choice: BudgetedChoice;
}

/**
 * Types for all groups that together take at most `budgetBytes` and lose least, if losses of groups add up. A wider type
 * is never taken to lose more than a narrower one: where it was measured so, the difference is noise. Undefined when even
 * the narrowest do not fit. Throws `gguf.unsupported` where `sensitivity` lacks a group or type.
 */
export function plannedTypes(
  options: readonly (readonly GroupOption[])[],
  sensitivity: Sensitivity,
  budgetBytes: number,
): TypePlan | undefined {
  const choice = chooseWithin(
    options.map((ofGroup) =>
      monotone(ofGroup.map((option) => ({ ...option, loss: lossOf(option, ofGroup, sensitivity) }))),
    ),
    budgetBytes,
  );
  if (choice === undefined) return undefined;
  const chosen = options.flatMap((ofGroup, i) => ofGroup[choice.chosen[i] ?? 0] ?? []);
  return {
    types: new Map(chosen.flatMap(({ types }) => [...types])),
    typeByGroup: Object.fromEntries(chosen.map(({ group, name }) => [group.name, name])),
    choice,
  };
}

/** Bits that each weight of these tensors takes, in the mean. */
export function meanBits(header: GgufHeader, types: ReadonlyMap<string, GgmlType>): number {
  const tensors = quantisable(header);
  const elements = tensors.reduce((sum, tensor) => sum + tensor.elements, 0);
  return (
    tensors.reduce((sum, one) => sum + one.elements * bitsPerWeight(types.get(one.name) ?? one.type), 0) / elements
  );
}

/** What is said of tensors that do not get the type asked for. */
export function typeNotes(header: GgufHeader, wanted: readonly GgmlType[]): readonly string[] {
  const fallen = new Map<string, string[]>();
  for (const type of wanted) {
    for (const tensor of quantisable(header)) {
      const columns = tensor.dimensions[0] ?? 0;
      if (columns % type.blockElements === 0) continue;
      const given = givenType(tensor, type).name.toLowerCase();
      const note = `${type.name.toLowerCase()} needs rows of a multiple of ${type.blockElements} weights: ${given} instead for`;
      fallen.set(note, [...(fallen.get(note) ?? []), tensor.name]);
    }
  }
  const again = quantisable(header).filter(({ type }) => bitsPerWeight(type) < 16);
  return [
    ...[...fallen].map(([note, names]) => `${note} ${names.length} tensors (${names[0] ?? ''}, ...)`),
    ...(again.length === 0
      ? []
      : [`${again.length} tensors are quantised already (${again[0]?.type.name.toLowerCase() ?? ''}): losses add up`]),
  ];
}

function optionOf(group: TensorGroup, types: ReadonlyMap<string, GgmlType>): GroupOption {
  const name = [...new Set([...types.values()].map((type) => type.name.toLowerCase()))].join('+');
  const sizeBytes = group.tensors.reduce(
    (sum, tensor) => sum + sizeAs(tensor, types.get(tensor.name) ?? tensor.type),
    0,
  );
  return { group, name, types, sizeBytes };
}

function lossOf(option: GroupOption, ofGroup: readonly GroupOption[], sensitivity: Sensitivity): number {
  if (option === ofGroup[0]) return 0;
  const group = sensitivity.groups.find(({ name }) => name === option.group.name);
  const measured = group?.options.find(({ type }) => type === option.name);
  if (measured === undefined) {
    throw new FleetError(
      'gguf.unsupported',
      `the sensitivity has no figure for ${option.group.name} as ${option.name}`,
      {
        hint: 'measure it again with the same --types: leave --sensitivity out, or name a new file',
      },
    );
  }
  return Math.max(0, measured.bitsPerByte - sensitivity.bitsPerByte);
}

/** Options are widest first: each loses at least what the wider ones do. */
function monotone<T extends { readonly loss: number }>(options: readonly T[]): readonly T[] {
  let most = 0;
  return options.map((option) => {
    most = Math.max(most, option.loss);
    return { ...option, loss: most };
  });
}
