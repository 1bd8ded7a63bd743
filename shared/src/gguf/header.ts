import { FleetError } from '../errors.js';
import { Cursor, NeedBytes } from './cursor.js';
import { type GgmlType, ggmlType } from './ggml-type.js';
import { tokenizerDigest } from './tokenizer-digest.js';

export type GgufScalar = string | number | bigint | boolean;
export type GgufElementType = (typeof ELEMENT_TYPES)[number];

/** An array value. Long ones (vocabularies, merges) are measured but not kept. */
export interface GgufArray {
  readonly elementType: GgufElementType;
  readonly length: number;
  /** The elements, or undefined when there are more than KEPT_ELEMENTS of them. */
  readonly elements: readonly GgufScalar[] | undefined;
}

/** One metadata entry with the place of its value, so that a writer can copy the bytes unread. */
export interface GgufEntry {
  readonly value: GgufScalar | GgufArray;
  readonly offset: number;
  readonly byteLength: number;
}

export interface GgufTensor {
  readonly name: string;
  /** Innermost first, as in the file: `[columns, rows, slabs]`. */
  readonly dimensions: readonly number[];
  readonly elements: number;
  readonly type: GgmlType;
  /** From the start of the file. */
  readonly fileOffset: number;
  readonly byteLength: number;
}

export interface GgufHeader {
  readonly version: 2 | 3;
  readonly metadata: ReadonlyMap<string, GgufEntry>;
  readonly tensors: readonly GgufTensor[];
  readonly alignment: number;
  /** First byte after the tensor table. */
  readonly headerBytes: number;
  /** Where tensor data starts: `headerBytes` rounded up to the alignment. */
  readonly dataOffset: number;
  /** Length that the file must have at least to hold its tensors. */
  readonly expectedFileBytes: number;
  readonly fileBytes: number;
  /** See `tokenizerDigest`. */
  readonly tokenizer: string | undefined;
}

/** Arrays up to this many elements are kept. */
export const KEPT_ELEMENTS = 4096;
/** Larger headers are refused: the largest seen in real models are some 20 MB (vocabulary and merges). */
export const MAX_HEADER_BYTES = 256 * 1024 * 1024;

const ELEMENT_TYPES = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
] as const;
/** Bytes of one element; for a string, of its shortest form. */
const LEAST_BYTES: Record<GgufElementType, number> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 8,
  array: 12,
  uint64: 8,
  int64: 8,
  float64: 8,
};
const LONGEST_NAME = 65_535;
const MOST_DIMENSIONS = 4;
const LARGEST_ALIGNMENT = 1 << 24;

/**
 * Parses the header of a GGUF file (version 2 or 3, little-endian) from its first bytes.
 *
 * `fileBytes` is the length of the whole file; `where` names it in messages. Answers `{ need }`, a longer length, when
 * the header goes on beyond `bytes`: read that much (or more) and call again. Does not check that the tensors' data is
 * there: compare `expectedFileBytes`. Throws `gguf.malformed` or `gguf.unsupported`; work and memory are bounded by
 * `bytes.length` whatever the contents.
 *
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function parseGgufHeader(
  bytes: Uint8Array,
  fileBytes: number,
  where: string,
): GgufHeader | { readonly need: number } {
  const cursor = new Cursor(bytes, fileBytes, where);
  try {
    const header = parse(cursor, fileBytes, where);
    return { ...header, tokenizer: tokenizerDigest(bytes, header.metadata) };
  } catch (error) {
    if (!(error instanceof NeedBytes)) throw error;
    if (error.length > MAX_HEADER_BYTES) {
      throw unsupported(where, `its header is longer than ${MAX_HEADER_BYTES} bytes`);
    }
    return { need: error.length };
  }
}

function parse(cursor: Cursor, fileBytes: number, where: string): Omit<GgufHeader, 'tokenizer'> {
  const version = readVersion(cursor, where);
  const tensorCount = cursor.count('number of tensors', 32);
  const entryCount = cursor.count('number of metadata entries', 13);
  const metadata = new Map<string, GgufEntry>();
  for (let i = 0; i < entryCount; i++) readEntry(cursor, metadata, where);
  const alignment = readAlignment(cursor, metadata);
  const rows: TensorRow[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) rows.push(readTensorRow(cursor, names, alignment, where));
  const headerBytes = cursor.position;
  const dataOffset = Math.ceil(headerBytes / alignment) * alignment;
  const tensors = rows.map(({ offset, ...tensor }) => ({ ...tensor, fileOffset: dataOffset + offset }));
  checkOverlap(cursor, tensors);
  const expectedFileBytes = tensors.reduce(
    (end, tensor) => Math.max(end, tensor.fileOffset + tensor.byteLength),
    headerBytes,
  );
  return { version, metadata, tensors, alignment, headerBytes, dataOffset, expectedFileBytes, fileBytes };
}

function readVersion(cursor: Cursor, where: string): 2 | 3 {
  const magic = cursor.u32('magic number');
  if (magic !== 0x46554747) {
    throw cursor.malformed(`expected the letters GGUF, got bytes 0x${magic.toString(16).padStart(8, '0')}`, 0);
  }
  const version = cursor.u32('version');
  if (version === 2 || version === 3) return version;
  if ((version & 0xffff) === 0 && version !== 0) throw unsupported(where, 'it is a big-endian GGUF');
  throw unsupported(where, `expected GGUF version 2 or 3, got ${version}`);
}

function readEntry(cursor: Cursor, metadata: Map<string, GgufEntry>, where: string): void {
  const at = cursor.position;
  const key = cursor.text('a metadata key');
  if (key.length === 0 || key.length > LONGEST_NAME) {
    throw cursor.malformed(`a metadata key of ${key.length} characters`, at);
  }
  if (metadata.has(key)) throw cursor.malformed(`metadata key ${shown(key)} occurs twice`, at);
  const type = readElementType(cursor, key);
  const offset = cursor.position;
  const value = type === 'array' ? readArray(cursor, key, where) : readScalar(cursor, type, key);
  metadata.set(key, { value, offset, byteLength: cursor.position - offset });
}

function readElementType(cursor: Cursor, key: string): GgufElementType {
  const at = cursor.position;
  const id = cursor.u32(`type of ${shown(key)}`);
  const type = ELEMENT_TYPES[id];
  if (type === undefined) throw cursor.malformed(`metadata ${shown(key)} has type ${id}, expected 0 to 12`, at);
  return type;
}

function readArray(cursor: Cursor, key: string, where: string): GgufArray {
  const elementType = readElementType(cursor, key);
  if (elementType === 'array') throw unsupported(where, `metadata ${shown(key)} is an array of arrays`);
  const length = cursor.count(`length of ${shown(key)}`, LEAST_BYTES[elementType]);
  if (length <= KEPT_ELEMENTS) {
    const elements: GgufScalar[] = [];
    for (let i = 0; i < length; i++) elements.push(readScalar(cursor, elementType, key));
    return { elementType, length, elements };
  }
  if (elementType === 'string') {
    for (let i = 0; i < length; i++) cursor.skip(cursor.count(`length of ${shown(key)}[${i}]`, 1), shown(key));
  } else {
    cursor.skip(length * LEAST_BYTES[elementType], shown(key));
  }
  return { elementType, length, elements: undefined };
}

function readScalar(cursor: Cursor, type: Exclude<GgufElementType, 'array'>, key: string): GgufScalar {
  switch (type) {
    case 'uint8':
      return cursor.u8(key);
    case 'int8':
      return cursor.i8(key);
    case 'uint16':
      return cursor.u16(key);
    case 'int16':
      return cursor.i16(key);
    case 'uint32':
      return cursor.u32(key);
    case 'int32':
      return cursor.i32(key);
    case 'float32':
      return cursor.f32(key);
    case 'bool':
      return cursor.u8(key) !== 0;
    case 'string':
      return cursor.text(key);
    case 'uint64':
      return cursor.u64(key);
    case 'int64':
      return cursor.i64(key);
    case 'float64':
      return cursor.f64(key);
  }
}

function readAlignment(cursor: Cursor, metadata: ReadonlyMap<string, GgufEntry>): number {
  const value = metadata.get('general.alignment')?.value ?? 32;
  if (typeof value !== 'number' || value < 1 || value > LARGEST_ALIGNMENT || (value & (value - 1)) !== 0) {
    throw cursor.malformed(
      `general.alignment is ${typeof value === 'object' ? 'an array' : value}, expected a power of two up to ${LARGEST_ALIGNMENT}`,
    );
  }
  return value;
}

type TensorRow = Omit<GgufTensor, 'fileOffset'> & { readonly offset: number };

function readTensorRow(cursor: Cursor, names: Set<string>, alignment: number, where: string): TensorRow {
  const at = cursor.position;
  const name = cursor.text('a tensor name');
  if (names.has(name)) throw cursor.malformed(`tensor ${shown(name)} occurs twice`, at);
  names.add(name);
  const rank = cursor.u32(`rank of tensor ${shown(name)}`);
  if (rank < 1 || rank > MOST_DIMENSIONS) {
    throw cursor.malformed(`tensor ${shown(name)} has ${rank} dimensions, expected 1 to ${MOST_DIMENSIONS}`, at);
  }
  const dimensions: number[] = [];
  for (let i = 0; i < rank; i++) dimensions.push(readDimension(cursor, name));
  const elements = dimensions.reduce((product, size) => product * size, 1);
  const typeId = cursor.u32(`type of tensor ${shown(name)}`);
  const type = ggmlType(typeId);
  if (type === undefined) throw unsupported(where, `tensor ${shown(name)} has the unknown type ${typeId}`);
  const columns = dimensions[0] ?? 0;
  const byteLength = (elements / type.blockElements) * type.blockBytes;
  if (columns % type.blockElements !== 0 || !Number.isSafeInteger(byteLength)) {
    throw cursor.malformed(`tensor ${shown(name)} of [${dimensions.join(', ')}] cannot be ${type.name}`, at);
  }
  const offset = cursor.u64(`offset of tensor ${shown(name)}`);
  if (typeof offset === 'bigint' || offset % alignment !== 0 || !Number.isSafeInteger(offset + byteLength)) {
    throw cursor.malformed(`tensor ${shown(name)} has offset ${offset}, expected a multiple of ${alignment}`, at);
  }
  return { name, dimensions, elements, type, byteLength, offset };
}

function readDimension(cursor: Cursor, name: string): number {
  const at = cursor.position;
  const size = cursor.u64(`dimension of tensor ${shown(name)}`);
  if (typeof size === 'bigint' || size < 1) {
    throw cursor.malformed(`tensor ${shown(name)} has a dimension of ${size}`, at);
  }
  return size;
}

function checkOverlap(cursor: Cursor, tensors: readonly GgufTensor[]): void {
  const inOrder = tensors.toSorted((a, b) => a.fileOffset - b.fileOffset);
  for (const [i, tensor] of inOrder.entries()) {
    const before = inOrder[i - 1];
    if (before !== undefined && before.fileOffset + before.byteLength > tensor.fileOffset) {
      throw cursor.malformed(`tensors ${shown(before.name)} and ${shown(tensor.name)} overlap`, tensor.fileOffset);
    }
  }
}

function unsupported(where: string, problem: string): FleetError {
  return new FleetError('gguf.unsupported', `${where}: ${problem}`, {
    hint: 'use a little-endian GGUF file, version 2 or 3, as llama.cpp writes it',
  });
}

/** Names come from the file: quoted and cut, so that a message stays one short line. */
function shown(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
