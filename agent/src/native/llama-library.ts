import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { cpuFunctions } from './cpu-backend.js';
import { type ColumnProducts, columnProducts } from './ggml-products.js';
import { layoutFault } from './llama-layout.js';
import { type Batch, type ContextParams, defineStructs, type ModelParams, type Koffi } from './llama-structs.js';

/** Addresses are plain numbers (or bigints above 2^53, which no user space has): koffi wraps nothing then. */
export type Address = number;

/** `(tensor, ask) -> boolean`: with `ask`, whether the graph is to be cut after the tensor; else its data is there. */
export type EvalCallback = (tensor: Address, ask: boolean) => boolean;

/** llama.cpp's C functions by their own names without the prefix. Only for a process that may die of them. */
export interface LlamaLibrary extends ColumnProducts {
  readonly version: string;
  /** Lines that llama.cpp has logged of late, oldest first. */
  readonly log: readonly string[];
  modelDefaultParams(): ModelParams;
  contextDefaultParams(): ContextParams;
  modelLoad(path: string, params: ModelParams): Address;
  modelFree(model: Address): void;
  modelVocab(model: Address): Address;
  modelLayers(model: Address): number;
  modelEmbedding(model: Address): number;
  init(model: Address, params: ContextParams): Address;
  free(context: Address): void;
  /** Threads that stay between evaluations, for a context; 0 where they cannot be had. */
  threadsFor(context: Address, threads: number): Address;
  threadsFree(threads: Address): void;
  memory(context: Address): Address;
  batchInit(tokens: number, embd: number, sequences: number): Batch;
  batchFree(batch: Batch): void;
  decode(context: Address, batch: Batch): number;
  logitsIth(context: Address, i: number): Address;
  setEmbeddings(context: Address, keeps: boolean): void;
  embeddingsIth(context: Address, i: number): Address;
  seqRm(memory: Address, sequence: number, from: number, to: number): boolean;
  seqCp(memory: Address, from: number, to: number, start: number, end: number): void;
  vocabTokens(vocab: Address): number;
  vocabBos(vocab: Address): number;
  vocabEos(vocab: Address): number;
  vocabAddsBos(vocab: Address): boolean;
  isEog(vocab: Address, token: number): boolean;
  tokenize(
    vocab: Address,
    text: Buffer,
    bytes: number,
    out: Int32Array,
    most: number,
    special: boolean,
    parse: boolean,
  ): number;
  tokenToPiece(vocab: Address, token: number, out: Buffer, bytes: number, lstrip: number, special: boolean): number;
  samplerGrammar(vocab: Address, grammar: string, root: string): Address;
  samplerApply(sampler: Address, candidates: Buffer): void;
  samplerAccept(sampler: Address, token: number): void;
  samplerFree(sampler: Address): void;
  adapterLoad(model: Address, path: string): Address;
  adapterFree(adapter: Address): void;
  setAdapters(context: Address, adapters: BigUint64Array | null, count: number, scales: Float32Array | null): number;
  tensorName(tensor: Address): string;
  tensorBytes(tensor: Address): number;
  /** Where a tensor's buffer (`ggml_backend_buffer_t`) lies in memory, and how long it is. */
  bufferBase(buffer: Address): Address;
  bufferBytes(buffer: Address): number;
  tensorGet(tensor: Address, out: ArrayBufferView, offset: number, bytes: number): void;
  tensorSet(tensor: Address, data: ArrayBufferView, offset: number, bytes: number): void;
  /** A callback that C may call until it is released. */
  evalCallback(callback: EvalCallback): { readonly pointer: unknown; release(): void };
  /** Copies bytes at an address of this process. */
  copy(out: ArrayBufferView, from: Address, bytes: number): void;
  /** Memory that does not move, with its address; it lives as long as the process. */
  fixedInts(length: number): { readonly address: Address; readonly ints: Int32Array };
}

/** More than `struct ggml_threadpool_params` takes; the library fills it. */
const THREADPOOL_PARAMS_BYTES = 1024;
/** How long an idle thread spins before it sleeps: after 512 bytes of processors, their number and priority. */
const POLL_AT = 520;
const DEFAULT_POLL = 50;
const POLL = 1;

const KEPT_LOG_LINES = 8;
/** `GGML_LOG_LEVEL_WARN`. */
const LEAST_LOGGED_LEVEL = 3;
const CONTINUED_LINE_LEVEL = 5;

let opened: Promise<LlamaLibrary> | undefined;

/**
 * The shared library that node-llama-cpp ships, called by koffi. Opened once a process.
 *
 * Throws `engine.unavailable` with the reason where koffi or the library is missing, or the library is not exactly the
 * build that these bindings know (`layoutFault`).
 */
export function openLlamaLibrary(): Promise<LlamaLibrary> {
  return (opened ??= open().catch((error: unknown) => {
    opened = undefined;
    throw error instanceof FleetError ? error : unavailable(messageOf(error), error);
  }));
}

/** Folder of the shared libraries and the version of the package that ships them. Throws `engine.unavailable`. */
export function locateLlama(): { readonly folder: string; readonly packageVersion: string } {
  const target = `linux-${process.arch}`;
  const root = packageFolder('node-llama-cpp', import.meta.url);
  const binaries = root === undefined ? undefined : packageFolder(`@node-llama-cpp/${target}`, join(root, 'index.js'));
  const folder = binaries === undefined ? undefined : join(binaries, 'bins', target);
  if (root === undefined || folder === undefined || !existsSync(folder)) {
    throw unavailable(`the shared library of llama.cpp for ${target} is not installed`);
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return { folder, packageVersion: version };
}

/** Where Node finds a package, seen from a file; its exports need not name its package.json. */
function packageFolder(name: string, from: string): string | undefined {
  const places = createRequire(from).resolve.paths(name) ?? [];
  return places.map((place) => join(place, name)).find((place) => existsSync(join(place, 'package.json')));
}

async function open(): Promise<LlamaLibrary> {
  const { default: koffi } = await import('koffi').catch((cause: unknown) => {
    throw unavailable(`koffi is not installed: ${messageOf(cause)}`, cause);
  });
  const { folder, packageVersion } = locateLlama();
  // Symbols of one are found by the next only when they are loaded for all, in this order.
  const base = koffi.load(join(folder, 'libggml-base.so'), { global: true });
  const ggml = koffi.load(join(folder, 'libggml.v0.5.0.so'), { global: true });
  const llama = koffi.load(join(folder, 'libllama.v0.5.0.so'), { global: true });
  const structs = defineStructs(koffi);
  const callbackType = koffi.pointer(structs.evalCallback);
  const modelDefaultParams = llama.func('llama_model_params llama_model_default_params()');
  const contextDefaultParams = llama.func('llama_context_params llama_context_default_params()');
  const version = String(llama.func('const char *llama_version()')());
  const [context, model] = [contextDefaultParams() as ContextParams, modelDefaultParams() as ModelParams];
  const fault = layoutFault({
    packageVersion,
    libraryVersion: version,
    sizes: {
      modelParams: koffi.sizeof(structs.modelParams),
      contextParams: koffi.sizeof(structs.contextParams),
      batch: koffi.sizeof(structs.batch),
      kvOverride: koffi.sizeof(structs.kvOverride),
    },
    defaults: {
      contextTokens: context.n_ctx,
      batchTokens: context.n_batch,
      microBatchTokens: context.n_ubatch,
      sequences: context.n_seq_max,
      cacheTypeK: context.type_k,
      cacheTypeV: context.type_v,
      poolingType: context.pooling_type,
      gpuLayers: model.n_gpu_layers,
      useExtraBuffers: Number(model.use_extra_bufts),
    },
  });
  if (fault !== undefined) throw unavailable(`the library's layout is not known: ${fault}`);
  const log: string[] = [];
  const logType = koffi.proto('void fleetgate_log(int level, const char *text, void *data)');
  const onLog = koffi.register((level: number, text: string) => keepLine(log, level, text), koffi.pointer(logType));
  llama.func('llama_log_set', 'void', [koffi.pointer(logType), 'void *'])(onLog, null);
  ggml.func('void ggml_backend_load_all_from_path(const char *)')(folder);
  return {
    version,
    log,
    modelDefaultParams,
    contextDefaultParams,
    modelLoad: llama.func('uint64_t llama_model_load_from_file(const char *, llama_model_params)'),
    modelFree: llama.func('void llama_model_free(uint64_t)'),
    modelVocab: llama.func('uint64_t llama_model_get_vocab(uint64_t)'),
    modelLayers: llama.func('int32_t llama_model_n_layer(uint64_t)'),
    modelEmbedding: llama.func('int32_t llama_model_n_embd(uint64_t)'),
    init: llama.func('uint64_t llama_init_from_model(uint64_t, llama_context_params)'),
    free: llama.func('void llama_free(uint64_t)'),
    ...threadpools(koffi, { base, ggml, llama }),
    ...columnProducts(koffi, base, ggml),
    memory: llama.func('uint64_t llama_get_memory(uint64_t)'),
    batchInit: llama.func('llama_batch llama_batch_init(int32_t, int32_t, int32_t)'),
    batchFree: llama.func('void llama_batch_free(llama_batch)'),
    decode: llama.func('int32_t llama_decode(uint64_t, llama_batch)'),
    logitsIth: llama.func('uint64_t llama_get_logits_ith(uint64_t, int32_t)'),
    setEmbeddings: llama.func('void llama_set_embeddings(uint64_t, bool)'),
    embeddingsIth: llama.func('uint64_t llama_get_embeddings_ith(uint64_t, int32_t)'),
    seqRm: llama.func('bool llama_memory_seq_rm(uint64_t, int32_t, int32_t, int32_t)'),
    seqCp: llama.func('void llama_memory_seq_cp(uint64_t, int32_t, int32_t, int32_t, int32_t)'),
    vocabTokens: llama.func('int32_t llama_vocab_n_tokens(uint64_t)'),
    vocabBos: llama.func('int32_t llama_vocab_bos(uint64_t)'),
    vocabEos: llama.func('int32_t llama_vocab_eos(uint64_t)'),
    vocabAddsBos: llama.func('bool llama_vocab_get_add_bos(uint64_t)'),
    isEog: llama.func('bool llama_vocab_is_eog(uint64_t, int32_t)'),
    tokenize: llama.func('int32_t llama_tokenize(uint64_t, const void *, int32_t, _Out_ void *, int32_t, bool, bool)'),
    tokenToPiece: llama.func('int32_t llama_token_to_piece(uint64_t, int32_t, _Out_ void *, int32_t, int32_t, bool)'),
    samplerGrammar: llama.func('uint64_t llama_sampler_init_grammar(uint64_t, const char *, const char *)'),
    samplerApply: llama.func('void llama_sampler_apply(uint64_t, _Inout_ void *)'),
    samplerAccept: llama.func('void llama_sampler_accept(uint64_t, int32_t)'),
    samplerFree: llama.func('void llama_sampler_free(uint64_t)'),
    adapterLoad: llama.func('uint64_t llama_adapter_lora_init(uint64_t, const char *)'),
    adapterFree: llama.func('void llama_adapter_lora_free(uint64_t)'),
    setAdapters: llama.func('int32_t llama_set_adapters_lora(uint64_t, void *, size_t, void *)'),
    tensorName: base.func('const char *ggml_get_name(uint64_t)'),
    tensorBytes: base.func('size_t ggml_nbytes(uint64_t)'),
    bufferBase: base.func('uint64_t ggml_backend_buffer_get_base(uint64_t)'),
    bufferBytes: base.func('size_t ggml_backend_buffer_get_size(uint64_t)'),
    tensorGet: base.func('void ggml_backend_tensor_get(uint64_t, _Out_ void *, size_t, size_t)'),
    tensorSet: base.func('void ggml_backend_tensor_set(uint64_t, const void *, size_t, size_t)'),
    evalCallback: (callback) => {
      const pointer = koffi.register((t: Address, ask: boolean) => callback(t, ask), callbackType);
      return { pointer, release: () => koffi.unregister(pointer) };
    },
    copy: koffi.load(null).func('void memcpy(_Out_ void *, uint64_t, size_t)'),
    fixedInts: (length) => {
      const pointer: unknown = koffi.alloc('int32_t', length);
      return { address: Number(koffi.address(pointer)), ints: new Int32Array(koffi.view(pointer, 4 * length)) };
    },
  };
}

function keepLine(log: string[], level: number, text: string): void {
  const line = text.trim();
  if (line === '' || level < LEAST_LOGGED_LEVEL || level === CONTINUED_LINE_LEVEL) return;
  log.push(line);
  if (log.length > KEPT_LOG_LINES) log.shift();
}

function unavailable(reason: string, cause?: unknown): FleetError {
  return new FleetError('engine.unavailable', reason, {
    hint: 'the slab-aware engine needs node-llama-cpp and koffi as locked, on Linux with glibc (x64 or arm64)',
    ...(cause === undefined ? {} : { cause }),
  });
}

function threadpools(
  koffi: Koffi,
  { base, ggml, llama }: Record<'base' | 'ggml' | 'llama', ReturnType<Koffi['load']>>,
): Pick<LlamaLibrary, 'threadsFor' | 'threadsFree'> {
  const called = cpuFunctions(base, ggml);
  const fill = base.func('void ggml_threadpool_params_init(_Inout_ void *, int)');
  const attach = llama.func('void llama_attach_threadpool(uint64_t, uint64_t, uint64_t)');
  const make = koffi.proto('uint64_t fleetgate_threadpool_new(void *params)');
  const end = koffi.proto('void fleetgate_threadpool_free(uint64_t threads)');
  return {
    threadsFor: (context, threads) => {
      const create = called('ggml_threadpool_new');
      if (create === 0n) return 0;
      const params = Buffer.alloc(THREADPOOL_PARAMS_BYTES);
      fill(params, threads);
      // Spinning for long would burn a core while storage is waited for.
      if (params.readUInt32LE(POLL_AT) === DEFAULT_POLL) params.writeUInt32LE(POLL, POLL_AT);
      const pool = Number(koffi.call(create, make, params));
      if (pool !== 0) attach(context, pool, pool);
      return pool;
    },
    threadsFree: (threads) => {
      const free = called('ggml_threadpool_free');
      if (threads !== 0 && free !== 0n) koffi.call(free, end, threads);
    },
  };
}
