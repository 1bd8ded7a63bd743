/**
 * What a file made of others looks like: metadata of a base file with some values changed, and tensors whose bytes lie
 * in several files, whole or slab by slab. Quantising works row by row and slabs are whole rows, so a file put
 * together like this is, byte for byte, the one that quantising the pruned model would give.
 */
import { FleetError } from '@fleetgate/shared/errors';
import type { GgmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { GgufHeader, GgufTensor } from '@fleetgate/shared/gguf/header';

/** Bytes of one of the source files. */
export interface Piece {
  readonly path: string;
  readonly offset: number;
  readonly byteLength: number;
}

export interface AssembledTensor {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly type: GgmlType;
  /** One after the other they are the tensor. */
  readonly pieces: readonly Piece[];
}

export type MetadataValue =
  | string
  | boolean
  | { readonly uint32: number | readonly number[] }
  | { readonly int32: readonly number[] }
  | { readonly float32: number | readonly number[] }
  | { readonly texts: readonly string[] };

/** A metadata entry of the base file as it lies there: element type and value. */
export interface RawEntry {
  readonly key: string;
  readonly bytes: Uint8Array;
}

/** Tensors that hold one slab after the other in their last dimension; the router's rows among them. */
const SLAB_TENSOR =
  /^blk\.(\d+)\.(?:ffn_(?:gate|up|down|gate_up)_exps\.(?:weight|bias|scale)|ffn_gate_inp\.(?:weight|bias)|exp_probs_b(?:\.bias)?)$/;
const UINT32 = 4;
const INT32 = 5;
const FLOAT32 = 6;
const BOOL = 7;
const STRING = 8;
const ARRAY = 9;

/** Whether a tensor holds something for each slab of its layer. */
export function holdsSlabs(name: string): boolean {
  return SLAB_TENSOR.test(name);
}

/** A tensor of a file, of which only the slabs in `kept` (ascending; undefined: all) are taken if it holds slabs. */
export function takenTensor(
  tensor: GgufTensor,
  path: string,
  kept: (layer: number) => readonly number[] | undefined,
): AssembledTensor {
  const { name, dimensions, type, fileOffset, byteLength } = tensor;
  const layer = SLAB_TENSOR.exec(name)?.[1];
  const slabs = layer === undefined ? undefined : kept(Number(layer));
  if (slabs === undefined) {
    return { name, dimensions, type, pieces: [{ path, offset: fileOffset, byteLength }] };
  }
  const all = dimensions.at(-1) ?? 0;
  const stride = byteLength / all;
  if (!Number.isInteger(stride) || slabs.length === 0 || slabs.some((slab) => slab < 0 || slab >= all)) {
    throw new FleetError(
      'gguf.malformed',
      `${path}: tensor ${name} of [${dimensions.join(', ')}] has no slabs to take`,
    );
  }
  const pieces = slabs.map((slab) => ({ path, offset: fileOffset + slab * stride, byteLength: stride }));
  return { name, dimensions: [...dimensions.slice(0, -1), slabs.length], type, pieces: joined(pieces) };
}

export function tensorBytes({ pieces }: AssembledTensor): number {
  return pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** Bytes from the end of `length` bytes to the next multiple of `alignment`. */
export function padding(length: number, alignment: number): number {
  return (alignment - (length % alignment)) % alignment;
}

/** Header of the file, up to the first tensor's data: version 3, entries in the base's order, new ones after them. */
export function encodeHeader(
  entries: readonly RawEntry[],
  changes: ReadonlyMap<string, MetadataValue | undefined>,
  tensors: readonly AssembledTensor[],
  alignment: number,
): Uint8Array {
  const changed = new Map<string, MetadataValue>([['general.alignment', { uint32: alignment }]]);
  for (const [key, value] of changes) if (value !== undefined && key !== 'general.alignment') changed.set(key, value);
  const kept = entries.filter(({ key }) => !changed.has(key) && !changes.has(key));
  const parts: Uint8Array[] = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(kept.length + changed.size)];
  for (const { key, bytes } of kept) parts.push(text(key), bytes);
  for (const [key, value] of changed) parts.push(text(key), encoded(value));
  let offset = 0;
  for (const tensor of tensors) {
    parts.push(text(tensor.name), u32(tensor.dimensions.length), ...tensor.dimensions.map(u64));
    parts.push(u32(tensor.type.id), u64(offset));
    const length = tensorBytes(tensor);
    offset += length + padding(length, alignment);
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(padding(header.length, alignment))]);
}

/** Where the raw entries of a header lie in its file. */
export function rawEntrySpans(
  header: GgufHeader,
): readonly { readonly key: string; readonly start: number; readonly end: number }[] {
  // The element type's number is the four bytes before the value.
  return [...header.metadata].map(([key, { offset, byteLength }]) => ({
    key,
    start: offset - 4,
    end: offset + byteLength,
  }));
}

function joined(pieces: readonly Piece[]): readonly Piece[] {
  const whole: Piece[] = [];
  for (const piece of pieces) {
    const last = whole.at(-1);
    if (last !== undefined && last.offset + last.byteLength === piece.offset) {
      whole[whole.length - 1] = { ...last, byteLength: last.byteLength + piece.byteLength };
    } else {
      whole.push(piece);
    }
  }
  return whole;
}

function encoded(value: MetadataValue): Uint8Array {
  if (typeof value === 'string') return Buffer.concat([u32(STRING), text(value)]);
  if (typeof value === 'boolean') return Buffer.concat([u32(BOOL), Buffer.from([value ? 1 : 0])]);
  if ('texts' in value) return array(STRING, value.texts.map(text));
  if ('int32' in value) return array(INT32, value.int32.map(u32));
  const [id, numbers, write] =
    'uint32' in value ? ([UINT32, value.uint32, u32] as const) : ([FLOAT32, value.float32, f32] as const);
  if (typeof numbers === 'number') return Buffer.concat([u32(id), write(numbers)]);
  return array(id, numbers.map(write));
}

function array(type: number, elements: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([u32(ARRAY), u32(type), u64(elements.length), ...elements]);
}

function text(value: string): Uint8Array {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

function f32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function u64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
