import { FleetError } from '@fleetgate/shared/errors';
import { ggmlType, type GgmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { GgufHeader, GgufTensor } from '@fleetgate/shared/gguf/header';

/** Types that llama.cpp quantises to without statistics of activations, widest first. */
const TARGETS: readonly number[] = [1, 30, 8, 14, 7, 13, 6, 3, 12, 20, 2, 39, 23, 11, 42, 10];
/** Where a tensor's rows are no multiple of the type's blocks: as llama.cpp falls back (`tensor_type_fallback`). */
const FALL_BACK: ReadonlyMap<number, number> = new Map([
  [10, 2],
  [11, 2],
  [12, 6],
  [13, 7],
  [14, 8],
  [23, 20],
  [42, 2],
]);
const F16 = 1;
/** Weights that llama.cpp leaves as they are, whatever is asked for (`tensor_allows_quantization`). */
const NEVER =
  /_norm\.weight$|ffn_gate_inp\.weight$|ffn_gate_tid2eid|altup|laurel|per_layer_model_proj|ssm_conv1d|shortconv\.conv|indexer\.[kq]_proj|time_mix_|attn_rel_b|position_embd|pos_embd|token_types/;
const SOURCE_TYPES = /^(?:F32|F16|BF16|I?Q\d|MXFP4|NVFP4|TQ\d)/;

export function bitsPerWeight({ blockBytes, blockElements }: GgmlType): number {
  return (8 * blockBytes) / blockElements;
}

/** The type of that name, in any case of letters. Throws `usage.invalid`, listing those that can be quantised to. */
export function targetType(name: string): GgmlType {
  const known = targetTypes();
  const type = known.find((one) => one.name.toLowerCase() === name.trim().toLowerCase());
  if (type !== undefined) return type;
  throw new FleetError('usage.invalid', `quantisation type "${name}" is not known`, {
    hint: `expected one of ${known.map((one) => one.name.toLowerCase()).join(', ')}; those below 4 bits that need statistics of activations are not offered`,
  });
}

export function targetTypes(): readonly GgmlType[] {
  return TARGETS.flatMap((id) => ggmlType(id) ?? []);
}

/** Tensors that can have another type: weights of two and more dimensions, but for norms, routers and the like. */
export function quantisable({ tensors }: GgufHeader): readonly GgufTensor[] {
  return tensors.filter(
    ({ name, dimensions, type }) =>
      dimensions.length > 1 && name.endsWith('weight') && !NEVER.test(name) && SOURCE_TYPES.test(type.name),
  );
}

/** The type that a tensor can have where `wanted` is asked for: by its row length. */
export function legalType({ dimensions }: GgufTensor, wanted: GgmlType): GgmlType {
  const columns = dimensions[0] ?? 0;
  if (columns % wanted.blockElements === 0) return wanted;
  const next = ggmlType(FALL_BACK.get(wanted.id) ?? F16);
  return next !== undefined && columns % next.blockElements === 0 ? next : (ggmlType(F16) ?? wanted);
}

/**
 * The type that a tensor gets: `wanted` or what is legal instead of it, but never one with more bits than it has, which
 * would add bytes and no information.
 */
export function givenType(tensor: GgufTensor, wanted: GgmlType): GgmlType {
  const legal = legalType(tensor, wanted);
  return bitsPerWeight(legal) >= bitsPerWeight(tensor.type) ? tensor.type : legal;
}

export function sizeAs({ elements }: GgufTensor, type: GgmlType): number {
  return (elements / type.blockElements) * type.blockBytes;
}

/** Tensors that are given their type together. */
export interface TensorGroup {
  readonly name: string;
  readonly tensors: readonly GgufTensor[];
}

/** One group for each layer and projection: attention of a layer together, each feed-forward projection by itself. */
export function projectionGroups(header: GgufHeader): readonly TensorGroup[] {
  return grouped(quantisable(header), ({ name }) => {
    const [, layer, rest = ''] = /^blk\.(\d+)\.(.+)\.weight$/.exec(name) ?? [];
    if (layer === undefined) return name.replace(/\.weight$/, '');
    return `blk.${layer}.${rest.startsWith('attn') ? 'attn' : rest}`;
  });
}

/** Feed-forward weights in `most` runs of layers (or as many as there are layers), all attention in one group, and what is outside of the layers in another. */
export function layerGroups(header: GgufHeader, most: number): readonly TensorGroup[] {
  const tensors = quantisable(header);
  const layers = [...new Set(tensors.map(layerOf))].filter((layer) => layer >= 0).sort((a, b) => a - b);
  const count = Math.min(most, layers.length);
  return grouped(tensors, (tensor) => {
    const layer = layerOf(tensor);
    if (layer < 0) return 'embedding';
    if (!/\.ffn_/.test(tensor.name)) return 'attention';
    const run = Math.floor((layers.indexOf(layer) * count) / layers.length);
    const [from, to] = [run, run + 1].map((i) => Math.ceil((i * layers.length) / count));
    const last = layers[(to ?? 1) - 1] ?? layer;
    const first = layers[from ?? 0] ?? layer;
    return first === last ? `ffn ${first}` : `ffn ${first}-${last}`;
  });
}

function layerOf({ name }: GgufTensor): number {
  return Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
}

function grouped(tensors: readonly GgufTensor[], nameOf: (tensor: GgufTensor) => string): readonly TensorGroup[] {
  const groups = new Map<string, GgufTensor[]>();
  for (const tensor of tensors) groups.set(nameOf(tensor), [...(groups.get(nameOf(tensor)) ?? []), tensor]);
  return [...groups].map(([name, members]) => ({ name, tensors: members }));
}
