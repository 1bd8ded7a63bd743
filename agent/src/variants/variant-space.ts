import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { modelledDecodeEnergy } from '@fleetgate/shared/catalogue/modelled-decode';
import { FleetError } from '@fleetgate/shared/errors';
import type { GgmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { GgufHeader, GgufTensor } from '@fleetgate/shared/gguf/header';
import { slabsBytesOf } from '@fleetgate/shared/gguf/facts';

import { holdsSlabs, padding } from '../gguf/assembly.js';
import { slabLayout } from '../gguf/slab-layout.js';
import type { Genome, GenomeShape } from './genome.js';
import { givenType, layerGroups, sizeAs, type TensorGroup } from './tensor-types.js';

/** One way to store a group: what its tensors become. */
interface GroupChoice {
  /** As a person asks for it; where rows are too short for it the tensors get another one. */
  readonly name: string;
  readonly types: ReadonlyMap<string, GgmlType>;
}

/** What can be chosen for the builds of one model: how many slabs stay, how many are active, how each group is stored. */
export interface VariantSpace {
  readonly header: GgufHeader;
  readonly layers: number;
  /** Groups of slabs that the router limits its choice to: each keeps equally many. 1 where it does not. */
  readonly slabGroups: number;
  /** Slabs kept in each layer, most first; the first is all. [0] for a dense model. */
  readonly keepCounts: readonly number[];
  /** Active slabs per token, most first; the first is the file's. [0] for a dense model. */
  readonly slabsPerToken: readonly number[];
  readonly groups: readonly { readonly group: TensorGroup; readonly choices: readonly GroupChoice[] }[];
}

/** A build, as far as choices go. */
export interface VariantSpec {
  readonly keep: number | undefined;
  readonly slabsPerToken: number | undefined;
  /** Type of every tensor that the search may change. */
  readonly types: ReadonlyMap<string, GgmlType>;
  /** Name of the choice of each group. */
  readonly typeByGroup: Readonly<Record<string, string>>;
}

export interface SpaceOptions {
  readonly types: readonly GgmlType[];
  readonly layerGroups: number;
  /** Absent: a default series. Counts below the active slabs and above all slabs are left out. */
  readonly keepCounts?: readonly number[] | undefined;
  /** Whether fewer active slabs than the file's are looked at. */
  readonly elastic: boolean;
}

/** Alignment that builds are written with, so that slabs start on pages where their length allows it. */
export const BUILD_ALIGNMENT = 4096;
/** Shares of all slabs that are tried when nothing else is said. */
const KEPT_SHARES = [1, 0.75, 0.5, 0.375, 0.25, 0.125];

export function variantSpace(header: GgufHeader, where: string, options: SpaceOptions): VariantSpace {
  const layout = slabLayout(header, where);
  const layers = new Set(header.tensors.flatMap(({ name }) => /^blk\.(\d+)\./.exec(name)?.[1] ?? [])).size;
  const groups = layerGroups(header, options.layerGroups).map((group) => ({
    group,
    choices: distinctChoices(group, options.types),
  }));
  if (layout === undefined) return { header, layers, slabGroups: 1, keepCounts: [0], slabsPerToken: [0], groups };
  const { slabsPerLayer, slabsPerToken, groups: slabGroups } = layout;
  const wanted = options.keepCounts ?? KEPT_SHARES.map((share) => Math.round(share * slabsPerLayer));
  const kept = wanted.filter((keep) => keep >= slabsPerToken && keep < slabsPerLayer && keep % slabGroups === 0);
  const keepCounts = [slabsPerLayer, ...new Set(kept)].sort((a, b) => b - a);
  const active = Array.from({ length: options.elastic ? slabsPerToken : 1 }, (_, i) => slabsPerToken - i);
  return { header, layers, slabGroups, keepCounts, slabsPerToken: active, groups };
}

export function shapeOf({ keepCounts, slabsPerToken, groups }: VariantSpace): GenomeShape {
  return [keepCounts.length, slabsPerToken.length, ...groups.map(({ choices }) => choices.length)];
}

/** Names of the genes and of what they choose from. */
export function genesOf({ keepCounts, slabsPerToken, groups }: VariantSpace): readonly {
  readonly name: string;
  readonly choices: string[];
}[] {
  return [
    { name: 'slabs kept', choices: keepCounts.map(String) },
    { name: 'active slabs', choices: slabsPerToken.map(String) },
    ...groups.map(({ group, choices }) => ({ name: group.name, choices: choices.map(({ name }) => name) })),
  ];
}

export function specOf({ keepCounts, slabsPerToken, groups }: VariantSpace, genome: Genome): VariantSpec {
  const [keepGene = 0, activeGene = 0, ...typeGenes] = genome;
  const chosen = groups.map(({ group, choices }, i) => ({ group, choice: choices[typeGenes[i] ?? 0] }));
  return {
    keep: keepGene === 0 ? undefined : keepCounts[keepGene],
    slabsPerToken: activeGene === 0 ? undefined : slabsPerToken[activeGene],
    types: new Map(chosen.flatMap(({ choice }) => [...(choice?.types ?? [])])),
    typeByGroup: Object.fromEntries(chosen.map(({ group, choice }) => [group.name, choice?.name ?? ''])),
  };
}

/** "8 of 16 slabs, k 1, ffn 0-1 q4_0": what sets a build apart from its source; "as it is" for the source. */
export function describeSpec(space: VariantSpace, { keep, slabsPerToken, typeByGroup }: VariantSpec): string {
  const original = specOf(space, []).typeByGroup;
  const types = Object.entries(typeByGroup).filter(([group, type]) => type !== original[group]);
  const isUniform = types.length === space.groups.length && new Set(types.map(([, type]) => type)).size === 1;
  const parts = [
    ...(keep === undefined ? [] : [`${keep} of ${space.keepCounts[0] ?? 0} slabs`]),
    ...(slabsPerToken === undefined ? [] : [`k ${slabsPerToken}`]),
    ...(isUniform ? [`all ${types[0]?.[1] ?? ''}`] : types.map(([group, type]) => `${group} ${type}`)),
  ];
  return parts.length === 0 ? 'as it is' : parts.join(', ').slice(0, 200);
}

export interface VariantCost {
  readonly sizeBytes: number;
  /** Weights read for one output token. */
  readonly activeBytes: number;
  readonly decodeJPerToken: number;
}

/** Size of the built file (but for some hundred bytes of metadata) and modelled energy of an output token. */
export function costOf(space: VariantSpace, spec: VariantSpec, board: BoardProfile): VariantCost {
  const { header, keepCounts, slabsPerToken } = space;
  const slabs = keepCounts[0] ?? 0;
  const shareKept = spec.keep === undefined ? 1 : spec.keep / slabs;
  const shareActive = slabs === 0 ? 1 : (spec.slabsPerToken ?? slabsPerToken[0] ?? 0) / slabs;
  const isTied = !header.tensors.some(({ name }) => name === 'output.weight');
  let sizeBytes = header.headerBytes + padding(header.headerBytes, BUILD_ALIGNMENT);
  let activeBytes = 0;
  for (const tensor of header.tensors) {
    const whole = sizeAs(tensor, spec.types.get(tensor.name) ?? tensor.type);
    const kept = holdsSlabs(tensor.name) ? whole * shareKept : whole;
    sizeBytes += kept + padding(kept, BUILD_ALIGNMENT);
    // Of an embedding table that is no output too, one row is read.
    if (tensor.name === 'token_embd.weight' && !isTied) continue;
    activeBytes += isSlab(tensor) ? whole * shareActive : kept;
  }
  const decodeJPerToken = modelledDecodeEnergy(activeBytes, space.layers, board);
  return { sizeBytes, activeBytes, decodeJPerToken };
}

/** Refuses a search in which nothing can be chosen. */
export function checkSpace(space: VariantSpace, where: string): void {
  if (shapeOf(space).some((choices) => choices > 1)) return;
  throw new FleetError('usage.invalid', `${where}: nothing to choose: no narrower type and no fewer slabs`, {
    hint: `give --types with fewer bits than the file has, or --keep counts below its ${space.keepCounts[0] ?? 0} slabs`,
  });
}

/** Whether the model has slabs at all. */
export function hasSlabs({ header }: VariantSpace): boolean {
  return slabsBytesOf(header) > 0;
}

/** As it is first, then what the types make of the group, widest first, without those that come to the same. */
function distinctChoices({ tensors }: TensorGroup, types: readonly GgmlType[]): readonly GroupChoice[] {
  const original = new Map(tensors.map((tensor) => [tensor.name, tensor.type]));
  const choices = types.map((wanted) => {
    const given = new Map(tensors.map((tensor) => [tensor.name, givenType(tensor, wanted)]));
    return { name: namesOf(given), types: given, bytes: bytesOf(tensors, given) };
  });
  const all = [{ name: namesOf(original), types: original, bytes: bytesOf(tensors, original) }, ...choices];
  const distinct = [...new Map(all.map((choice) => [choice.name, choice])).values()];
  return distinct.sort((a, b) => b.bytes - a.bytes).map(({ name, types: given }) => ({ name, types: given }));
}

function namesOf(types: ReadonlyMap<string, GgmlType>): string {
  return [...new Set([...types.values()].map(({ name }) => name.toLowerCase()))].join('+');
}

function bytesOf(tensors: readonly GgufTensor[], types: ReadonlyMap<string, GgmlType>): number {
  return tensors.reduce((sum, tensor) => sum + sizeAs(tensor, types.get(tensor.name) ?? tensor.type), 0);
}

/** Read for the slabs that a token uses; the router is read whole. */
function isSlab({ name }: GgufTensor): boolean {
  return /_exps\.(?:weight|bias|scale)$/.test(name);
}
