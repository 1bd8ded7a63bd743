import type { ModelFacts } from '../catalogue/expert.js';
import { FleetError } from '../errors.js';
import { type Bytes, bytes } from '../units/quantity.js';
import type { GgufHeader } from './header.js';

/** What a GGUF header says of its model. `where` names the file in messages. Throws `gguf.malformed` or `gguf.unsupported`. */
export function modelFacts(header: GgufHeader, where: string): ModelFacts {
  const read = new Metadata(header, where);
  const parts = read.optionalCount('split.count') ?? 1;
  if (parts > 1) {
    throw new FleetError('gguf.unsupported', `${where}: the model is split over ${parts} files`, {
      hint: 'write them as one with `fleetgate gguf merge`, and use that',
    });
  }
  const architecture = read.text('general.architecture');
  if (header.tensors.length === 0) throw read.fault('it holds no tensors');
  const contextTokens = read.count(`${architecture}.context_length`);
  const name = read.optionalText('general.name');
  return {
    architecture,
    ...(name === undefined ? {} : { name }),
    parameters: header.tensors.reduce((sum, tensor) => sum + tensor.elements, 0),
    contextTokens,
    layers: read.count(`${architecture}.block_count`),
    embeddingLength: read.count(`${architecture}.embedding_length`),
    slabsPerLayer: read.optionalCount(`${architecture}.expert_count`) ?? 0,
    slabsPerToken: read.optionalCount(`${architecture}.expert_used_count`) ?? 0,
    slabsBytes: slabsBytesOf(header),
    hasChatTemplate: read.optionalText('tokenizer.chat_template') !== undefined,
    quantisation: commonestType(header),
    fileBytes: header.fileBytes,
    memoryBytes: estimateMemory(header, contextTokens, 1, where),
    ...(header.tokenizer === undefined ? {} : { tokenizer: header.tokenizer }),
  };
}

/** Bytes of all slabs: of the routed experts' weights. 0 for a dense model. */
export function slabsBytesOf(header: GgufHeader): number {
  const slabs = header.tensors.filter(({ name }) => /^blk\.\d+\.ffn_(?:gate|up|down|gate_up)_exps\.weight$/.test(name));
  return slabs.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** Tokens that llama.cpp evaluates at once (`n_ubatch`), which its compute buffers are sized for. */
const ESTIMATED_BATCH_TOKENS = 512;
/** Vocabulary, graph and allocator overhead of one resident model: measured 4 to 9 MB on the bundled experts. */
const FIXED_BYTES = 8 * 1024 * 1024;

/** Bytes of what a resident model takes. */
export interface MemoryParts {
  readonly weights: number;
  /** KV cache, and what does not depend on the file. */
  readonly context: number;
  /** Buffers of the largest evaluation. */
  readonly evaluation: number;
  readonly total: Bytes;
}

/** Of `memoryParts`, the total. */
export function estimateMemory(header: GgufHeader, contextTokens: number, sequences: number, where: string): Bytes {
  return memoryParts(header, contextTokens, sequences, where).total;
}

/**
 * Resident memory of a model that serves `sequences` sequences of `contextTokens` tokens each:
 *
 *     weights + KV cache + compute buffers + 8 MiB
 *     KV cache = 2 bytes (f16) * contextTokens * sequences * sum over layers of kvHeads * (keyLength + valueLength)
 *     compute  = evaluationBytes for a batch of min(512, contextTokens) tokens, all with logits
 *
 * Sliding windows and recurrent layers are not taken off, so it errs high for those.
 */
export function memoryParts(header: GgufHeader, contextTokens: number, sequences: number, where: string): MemoryParts {
  const read = new Metadata(header, where);
  const architecture = read.text('general.architecture');
  const layers = read.count(`${architecture}.block_count`);
  const embedding = read.count(`${architecture}.embedding_length`);
  const heads = read.perLayer(`${architecture}.attention.head_count`, layers) ?? [];
  const kvHeads = read.perLayer(`${architecture}.attention.head_count_kv`, layers) ?? heads;
  const headLength = embedding / Math.max(1, ...heads);
  const keyLength = read.optionalCount(`${architecture}.attention.key_length`) ?? headLength;
  const valueLength = read.optionalCount(`${architecture}.attention.value_length`) ?? headLength;
  const weights = weightBytes(header);
  const kvWidth = kvHeads.reduce((sum, count) => sum + count * (keyLength + valueLength), 0);
  const cache = 2 * contextTokens * sequences * kvWidth;
  const tokens = Math.min(ESTIMATED_BATCH_TOKENS, contextTokens);
  const evaluation = evaluationBytes(header, where)(tokens, tokens);
  const context = Math.ceil(cache + FIXED_BYTES);
  const total = weights + context + evaluation;
  if (!Number.isSafeInteger(total)) throw read.fault(`its sizes give an absurd memory need of ${total} bytes`);
  return { weights, context, evaluation, total: bytes(total) };
}

/**
 * Buffers of one evaluation of `tokens` tokens, of which `outputs` have logits:
 *
 *     4 bytes (f32) * (tokens * (8 * embedding + 3 * feedForward) + outputs * vocabulary)
 *
 * An allowance for llama.cpp's graph of one batch (logits, residual stream, attention, gated FFN) with flash attention.
 */
export function evaluationBytes(header: GgufHeader, where: string): (tokens: number, outputs: number) => number {
  const read = new Metadata(header, where);
  const architecture = read.text('general.architecture');
  const layers = read.count(`${architecture}.block_count`);
  const embedding = read.count(`${architecture}.embedding_length`);
  const vocabulary = read.arrayLength('tokenizer.ggml.tokens') ?? 0;
  const feedForward = Math.max(0, ...(read.perLayer(`${architecture}.feed_forward_length`, layers) ?? []));
  return (tokens, outputs) => 4 * (tokens * (8 * embedding + 3 * feedForward) + outputs * vocabulary);
}

/** Bytes of all tensors of a file. */
export function weightBytes({ tensors }: GgufHeader): number {
  return tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function commonestType(header: GgufHeader): string {
  const elementsByType = new Map<string, number>();
  for (const { type, elements } of header.tensors) {
    elementsByType.set(type.name, (elementsByType.get(type.name) ?? 0) + elements);
  }
  return [...elementsByType].reduce((most, entry) => (entry[1] > most[1] ? entry : most), ['', 0])[0];
}

/** Layers whose sizes a file may give one by one; more than any model has. */
const MOST_LAYERS = 65_536;

/** Typed reads of metadata, with faults that name the key, what was expected and what is there. */
class Metadata {
  readonly #header: GgufHeader;
  readonly #where: string;

  constructor(header: GgufHeader, where: string) {
    this.#header = header;
    this.#where = where;
  }

  text(key: string): string {
    const value = this.optionalText(key);
    if (value === undefined || value === '') throw this.fault(`metadata ${key} is missing, expected a text`);
    return value;
  }

  optionalText(key: string): string | undefined {
    const value = this.#header.metadata.get(key)?.value;
    if (value === undefined || typeof value === 'string') return value;
    throw this.fault(`metadata ${key} is not a text`);
  }

  /** An integer of 1 or more. */
  count(key: string): number {
    const value = this.optionalCount(key);
    if (value === undefined || value < 1) {
      throw this.fault(`metadata ${key} is ${value ?? 'missing'}, expected an integer of 1 or more`);
    }
    return value;
  }

  /** An integer of 0 or more; of one per layer, the largest. */
  optionalCount(key: string): number | undefined {
    const values = this.#counts(key);
    return values === undefined ? undefined : Math.max(0, ...values);
  }

  /** One integer per layer; a single one stands for all. */
  perLayer(key: string, layers: number): readonly number[] | undefined {
    if (layers > MOST_LAYERS) throw this.fault(`it claims ${layers} layers, expected at most ${MOST_LAYERS}`);
    const values = this.#counts(key);
    const [only] = values ?? [];
    return values?.length === 1 && only !== undefined ? Array.from({ length: layers }, () => only) : values;
  }

  arrayLength(key: string): number | undefined {
    const value = this.#header.metadata.get(key)?.value;
    return typeof value === 'object' ? value.length : undefined;
  }

  fault(problem: string): FleetError {
    return new FleetError('gguf.malformed', `${this.#where}: ${problem}`, {
      hint: 'the file is damaged, or it is not a language model',
    });
  }

  #counts(key: string): readonly number[] | undefined {
    const value = this.#header.metadata.get(key)?.value;
    if (value === undefined) return undefined;
    const found = typeof value === 'object' ? (value.elements ?? []) : [value];
    return found.map((entry) => {
      if (typeof entry === 'number' && Number.isInteger(entry) && entry >= 0) return entry;
      throw this.fault(`metadata ${key} is ${String(entry)}, expected an integer of 0 or more`);
    });
  }
}
