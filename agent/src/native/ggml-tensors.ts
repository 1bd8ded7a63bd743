import type { Address, LlamaLibrary } from './llama-library.js';

/** Bytes of `struct ggml_tensor`, and where its parts lie (ggml 0.25.1: checked through the library's version). */
const TENSOR_BYTES = 336;
const BUFFER_AT = 8;
const SIZES_AT = 16;
const STRIDES_AT = 48;
const SOURCES_AT = 152;
const DATA_AT = 248;

export interface Matrix {
  readonly tensor: Address;
  /** `enum ggml_type`; 0: float32. */
  readonly type: number;
  readonly columns: number;
  readonly rows: number;
  /** Numbers from row to row: more than columns where it is a view. */
  readonly stride: number;
  readonly data: Address;
}

/** Reads and writes tensors of the graph that is being computed, by their addresses. */
export class GgmlTensors {
  readonly #library: LlamaLibrary;
  readonly #struct = new DataView(new ArrayBuffer(TENSOR_BYTES));
  readonly #pointer = new BigUint64Array(1);

  constructor(library: LlamaLibrary) {
    this.#library = library;
  }

  matrix(tensor: Address): Matrix {
    this.#library.copy(this.#struct, tensor, TENSOR_BYTES);
    const at = (offset: number): number => Number(this.#struct.getBigInt64(offset, true));
    return {
      tensor,
      type: this.#struct.getInt32(0, true),
      columns: at(SIZES_AT),
      rows: at(SIZES_AT + 8),
      stride: at(STRIDES_AT + 8) / at(STRIDES_AT),
      data: at(DATA_AT),
    };
  }

  /** The i-th tensor that it is computed from. */
  source(tensor: Address, i: number): Matrix | undefined {
    this.#library.copy(this.#struct, tensor, TENSOR_BYTES);
    const source = Number(this.#struct.getBigUint64(SOURCES_AT + 8 * i, true));
    return source === 0 ? undefined : this.matrix(source);
  }

  /** The memory that a tensor of the graph shares with the others. */
  bufferOf(tensor: Address): { readonly address: Address; readonly bytes: number } | undefined {
    this.#library.copy(this.#pointer, tensor + BUFFER_AT, 8);
    const buffer = Number(this.#pointer[0]);
    if (buffer === 0) return undefined;
    return { address: this.#library.bufferBase(buffer), bytes: this.#library.bufferBytes(buffer) };
  }

  /** Name of the i-th tensor that it is computed from. */
  sourceName(tensor: Address, i: number): string | undefined {
    this.#library.copy(this.#pointer, tensor + SOURCES_AT + 8 * i, 8);
    const source = Number(this.#pointer[0]);
    return source === 0 ? undefined : this.#library.tensorName(source);
  }

  /** A copy of all numbers of a float32 tensor. */
  floats(tensor: Address): Float32Array {
    const values = new Float32Array(this.#library.tensorBytes(tensor) / 4);
    if (values.length > 0) this.#library.tensorGet(tensor, values, 0, values.byteLength);
    return values;
  }

  /** A copy of all numbers of an int32 tensor, those between the rows of a view as well. */
  ints(tensor: Address): Int32Array {
    const values = new Int32Array(this.#library.tensorBytes(tensor) / 4);
    if (values.length > 0) this.#library.tensorGet(tensor, values, 0, values.byteLength);
    return values;
  }

  /** Overwrites numbers from the `first` one on. */
  write(tensor: Address, values: Float32Array | Int32Array, first = 0): void {
    this.#library.tensorSet(tensor, values, 4 * first, values.byteLength);
  }
}
