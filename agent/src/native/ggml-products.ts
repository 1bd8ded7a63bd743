import { cpuFunctions } from './cpu-backend.js';
import type { Koffi } from './llama-structs.js';

type Library = ReturnType<Koffi['load']>;

/** A matrix of the model, to be multiplied with single columns. */
export interface ColumnProduct {
  /**
   * The product with the float32 numbers at an address, computed on the calling thread; undefined where ggml fails. Good
   * until the next one.
   */
  of(column: number): Float32Array | undefined;
  free(): void;
}

export interface ColumnProducts {
  /**
   * Of a matrix in the processor's memory, by its tensor's address; undefined where the processor's backend cannot be
   * called. Numbers of any type that llama.cpp computes with; other shapes than the tensor's own end the process.
   */
  columnProduct(matrix: number, shape: MatrixShape): ColumnProduct | undefined;
}

export interface MatrixShape {
  readonly columns: number;
  readonly rows: number;
}

/** `GGML_TYPE_F32`, `GGML_STATUS_SUCCESS`. */
const F32 = 0;
const SUCCESS = 0;
const NODES = 4;
/** Tensors: the column and the product; each with its numbers aligned. */
const TENSORS = 2;
const ALIGNMENT_BYTES = 64;

/** ggml's own multiplication, for one column at a time and without llama.cpp: 20 us for 64 rows of 1,024. */
export function columnProducts(koffi: Koffi, base: Library, ggml: Library): ColumnProducts {
  const initParams = koffi.struct('ggml_init_params', { mem_size: 'size_t', mem_buffer: 'void *', no_alloc: 'bool' });
  const init = base.func('ggml_init', 'uint64_t', [initParams]);
  const end = base.func('void ggml_free(uint64_t)');
  const dataOf = base.func('uint64_t ggml_get_data(uint64_t)');
  const newTensor = base.func('uint64_t ggml_new_tensor_1d(uint64_t, int, int64_t)');
  const multiply = base.func('uint64_t ggml_mul_mat(uint64_t, uint64_t, uint64_t)');
  const newGraph = base.func('uint64_t ggml_new_graph_custom(uint64_t, size_t, bool)');
  const expand = base.func('void ggml_build_forward_expand(uint64_t, uint64_t)');
  const compute = base.func('int ggml_backend_graph_compute(uint64_t, uint64_t)');
  const tensorBytes = base.func('size_t ggml_tensor_overhead()');
  const graphBytes = base.func('size_t ggml_graph_overhead_custom(size_t, bool)');
  const move = koffi.load(null).func('void *memcpy(uint64_t, uint64_t, size_t)');
  const copy = koffi.load(null).func('void *memcpy(_Out_ void *, uint64_t, size_t)');
  const backend = singleThreaded(koffi, base, ggml);
  return {
    columnProduct: (matrix, { columns, rows }) => {
      const processor = backend();
      if (processor === 0) return undefined;
      const bytes =
        Number(graphBytes(NODES, false)) +
        TENSORS * (Number(tensorBytes()) + ALIGNMENT_BYTES) +
        4 * (columns + rows) +
        ALIGNMENT_BYTES;
      const context = Number(init({ mem_size: bytes, mem_buffer: null, no_alloc: false }));
      if (context === 0) return undefined;
      const input = newTensor(context, F32, columns) as number;
      const output = multiply(context, matrix, input) as number;
      const graph = newGraph(context, NODES, false) as number;
      expand(graph, output);
      const [from, to] = [dataOf(input) as number, dataOf(output) as number];
      const product = new Float32Array(rows);
      return {
        of: (column) => {
          move(from, column, 4 * columns);
          if (compute(processor, graph) !== SUCCESS) return undefined;
          copy(product, to, product.byteLength);
          return product;
        },
        free: () => end(context),
      };
    },
  };
}

/** The processor's backend with one thread, made once; 0 where it cannot be had. */
function singleThreaded(koffi: Koffi, base: Library, ggml: Library): () => number {
  const functionOf = cpuFunctions(base, ggml);
  const start = ggml.func('uint64_t ggml_backend_init_by_name(const char *, const char *)');
  const setThreads = koffi.proto('void fleetgate_set_n_threads(uint64_t backend, int threads)');
  let backend: number | undefined;
  return () => {
    if (backend !== undefined) return backend;
    const set = functionOf('ggml_backend_set_n_threads');
    backend = set === 0n ? 0 : Number(start('CPU', null));
    if (backend !== 0) koffi.call(set, setThreads, backend, 1);
    return backend;
  };
}
