import type { AssembledTensor } from '../gguf/assembly.js';
import { tensorBytes } from '../gguf/assembly.js';

/** `general.file_type` (llama.cpp's `llama_ftype`) of a file whose tensors are mostly of a type. */
const FILE_TYPES: ReadonlyMap<number, number> = new Map([
  [0, 0],
  [1, 1],
  [2, 2],
  [3, 3],
  [6, 8],
  [7, 9],
  [8, 7],
  [10, 10],
  [11, 11],
  [12, 14],
  [13, 16],
  [14, 18],
  [20, 25],
  [23, 30],
  [30, 32],
  [39, 38],
  [42, 41],
]);
/** `LLAMA_FTYPE_GUESSED`. */
const UNKNOWN = 1024;

/** By the type that most bytes are of. */
export function fileTypeOf(tensors: readonly AssembledTensor[]): number {
  const bytesByType = new Map<number, number>();
  for (const tensor of tensors) {
    bytesByType.set(tensor.type.id, (bytesByType.get(tensor.type.id) ?? 0) + tensorBytes(tensor));
  }
  const [largest] = [...bytesByType].sort(([, a], [, b]) => b - a);
  return FILE_TYPES.get(largest?.[0] ?? -1) ?? UNKNOWN;
}
