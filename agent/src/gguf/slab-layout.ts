import { FleetError } from '@fleetgate/shared/errors';
import { weightBytes } from '@fleetgate/shared/gguf/facts';
import type { GgufHeader, GgufTensor } from '@fleetgate/shared/gguf/header';

/** The weights of a slab, in the order in which a layer computes with them. */
export const PROJECTIONS = ['gate_up', 'gate', 'up', 'down'] as const;
export type Projection = (typeof PROJECTIONS)[number];

/** One tensor of a layer's slabs. Slab `s` lies at `offset + s * stride`, `stride` bytes long. */
export interface SlabTensor {
  readonly name: string;
  readonly projection: Projection;
  readonly offset: number;
  readonly stride: number;
}

/** The slabs of one mixture-of-experts layer. */
export interface LayerSlabs {
  readonly layer: number;
  /** Their weights: gate, up and down, or gate and up in one. What else a slab has (biases, scales) is small and not here. */
  readonly tensors: readonly SlabTensor[];
}

/** Where the slabs of a mixture-of-experts file lie. */
export interface SlabLayout {
  readonly architecture: string;
  readonly slabsPerLayer: number;
  /** Slabs used per token; of several values for several layers, the largest. */
  readonly slabsPerToken: number;
  /** Groups of slabs next to each other that the router limits its choice to (DeepSeek); 1 where it does not. */
  readonly groups: number;
  /** Layers that have slabs, in order; dense layers are left out. */
  readonly layers: readonly LayerSlabs[];
  /** Bytes of the largest slab, all its tensors together. */
  readonly slabBytes: number;
  /** Bytes of all slabs. */
  readonly slabsBytes: number;
  /** Bytes of all other tensors: resident whatever happens. */
  readonly otherBytes: number;
}

const SLAB_WEIGHT = /^blk\.(\d+)\.ffn_(gate|up|down|gate_up)_exps\.weight$/;

/** Reads the layout; undefined for a dense model. Throws `gguf.malformed` where the tensors contradict the metadata. */
export function slabLayout(header: GgufHeader, where: string): SlabLayout | undefined {
  const architecture = header.metadata.get('general.architecture')?.value;
  if (typeof architecture !== 'string') return undefined;
  const slabsPerLayer = largest(header, `${architecture}.expert_count`);
  const slabsPerToken = largest(header, `${architecture}.expert_used_count`);
  const tensorsByLayer = new Map<number, SlabTensor[]>();
  let slabsBytes = 0;
  for (const tensor of header.tensors) {
    const match = SLAB_WEIGHT.exec(tensor.name);
    if (match === null) continue;
    const slabs = tensorsByLayer.get(Number(match[1])) ?? [];
    slabs.push(slabTensor(tensor, match[2] as Projection, slabsPerLayer, where));
    tensorsByLayer.set(Number(match[1]), slabs);
    slabsBytes += tensor.byteLength;
  }
  if (tensorsByLayer.size === 0) return undefined;
  if (slabsPerToken < 1 || slabsPerToken > slabsPerLayer) {
    throw malformed(where, `${slabsPerToken} slabs per token of ${slabsPerLayer} in a layer`);
  }
  const layers = [...tensorsByLayer]
    .map(([layer, tensors]) => ({ layer, tensors }))
    .toSorted((a, b) => a.layer - b.layer);
  const all = weightBytes(header);
  return {
    architecture,
    slabsPerLayer,
    slabsPerToken,
    groups: groupsOf(header, architecture, slabsPerLayer, where),
    layers,
    slabBytes: Math.max(...layers.map(slabBytesOf)),
    slabsBytes,
    otherBytes: all - slabsBytes,
  };
}

/** Bytes of one slab of a layer. */
export function slabBytesOf({ tensors }: LayerSlabs): number {
  return tensors.reduce((sum, { stride }) => sum + stride, 0);
}

function slabTensor(
  { name, dimensions, fileOffset, byteLength }: GgufTensor,
  projection: Projection,
  slabs: number,
  where: string,
): SlabTensor {
  if (dimensions.length !== 3 || dimensions[2] !== slabs) {
    throw malformed(
      where,
      `tensor ${name} is [${dimensions.join(', ')}], expected ${slabs} slabs in its third dimension`,
    );
  }
  return { name, projection, offset: fileOffset, stride: byteLength / slabs };
}

function groupsOf(header: GgufHeader, architecture: string, slabs: number, where: string): number {
  const groups = Math.max(1, largest(header, `${architecture}.expert_group_count`));
  if (slabs % groups !== 0) throw malformed(where, `${slabs} slabs in ${groups} groups`);
  return groups;
}

function largest(header: GgufHeader, key: string): number {
  const value = header.metadata.get(key)?.value ?? 0;
  const values = typeof value === 'object' ? (value.elements ?? []) : [value];
  return Math.max(0, ...values.map((one) => (typeof one === 'number' && Number.isInteger(one) ? one : 0)));
}

function malformed(where: string, problem: string): FleetError {
  return new FleetError('gguf.malformed', `${where}: ${problem}`, {
    hint: 'the file is damaged, or its architecture is not known: `fleetgate gguf inspect` shows its tensors',
  });
}
