import { join } from 'node:path';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { KNOWN_LIBRARY, KNOWN_PACKAGE } from './llama-layout.js';
import { locateLlama } from './llama-library.js';

/** Tensors whose name the pattern is found in (ECMAScript regular expression) become `type`. */
export interface TensorTypeRule {
  readonly pattern: string;
  /** Number of the ggml type, as in `ggmlType`. */
  readonly type: number;
}

export interface QuantiseRequest {
  readonly input: string;
  readonly output: string;
  /** First rule that matches decides. Tensors that none matches become Q8_0, those that llama.cpp never quantises stay. */
  readonly rules: readonly TensorTypeRule[];
  readonly threads: number;
  /** Most bytes of a tensor that are held in memory at once. */
  readonly bufferBytes: number;
}

export interface Quantiser {
  /** As `llama_version` says it. */
  readonly version: string;
  /**
   * Blocks until the file is written. `onTensor` is told of every tensor before its turn. Throws `gguf.unsupported` with
   * what llama.cpp said when it refuses; the output is then incomplete.
   */
  run(request: QuantiseRequest, onTensor: (tensor: number, tensors: number) => void): void;
}

/** `LLAMA_FTYPE_MOSTLY_Q8_0`: rules are looked at only where the file's own type is a quantised one. */
const MOSTLY_Q8_0 = 7;
/** What the known layout's defaults are; anything else is another layout. */
const DEFAULT_FTYPE = MOSTLY_Q8_0;
const DEFAULT_BUFFER_BYTES = 8 * 2 ** 30;
const PARAMS_BYTES = 64;
const KEPT_LOG_LINES = 6;
const TENSOR_LINE = /^\[\s*(\d+)\/\s*(\d+)\]/;

interface QuantiseParams {
  nthread: number;
  ftype: number;
  output_tensor_type: number;
  token_embedding_type: number;
  allow_requantize: boolean;
  quantize_output_tensor: boolean;
  only_copy: boolean;
  pure: boolean;
  keep_split: boolean;
  dry_run: boolean;
  imatrix: unknown;
  kv_overrides: unknown;
  tt_overrides: readonly { readonly pattern: string | null; readonly type: number }[] | null;
  prune_layers: unknown;
  max_buf_size: number;
}

/**
 * Opens `llama_model_quantize` of the shared library that node-llama-cpp ships.
 *
 * Only for a process of its own: the call blocks, and a fault in the library ends the process. Throws
 * `engine.unavailable` when koffi or the library is missing, or the library's layout is not the known one.
 */
export async function openQuantiser(): Promise<Quantiser> {
  const { default: koffi } = await import('koffi').catch((cause: unknown) => {
    throw unavailable(`koffi is not installed: ${messageOf(cause)}`, cause);
  });
  const { folder, packageVersion } = locateLlama();
  try {
    // llama.cpp's libraries find each other's symbols only when all of them are loaded globally, in this order.
    const load = (name: string): ReturnType<typeof koffi.load> => koffi.load(join(folder, name), { global: true });
    load('libggml-base.so');
    load('libggml.v0.5.0.so');
    const library = load('libllama.v0.5.0.so');
    koffi.struct('llama_model_tensor_override', { pattern: 'const char *', type: 'int32_t' });
    const params = koffi.struct('llama_model_quantize_params', {
      nthread: 'int32_t',
      ftype: 'int32_t',
      output_tensor_type: 'int32_t',
      token_embedding_type: 'int32_t',
      allow_requantize: 'bool',
      quantize_output_tensor: 'bool',
      only_copy: 'bool',
      pure: 'bool',
      keep_split: 'bool',
      dry_run: 'bool',
      imatrix: 'void *',
      kv_overrides: 'void *',
      tt_overrides: 'llama_model_tensor_override *',
      prune_layers: 'void *',
      max_buf_size: 'size_t',
    });
    const defaults = library.func('llama_model_quantize_params llama_model_quantize_default_params()');
    const quantise = library.func(
      'uint32_t llama_model_quantize(const char *input, const char *output, const llama_model_quantize_params *params)',
    );
    const version = String(library.func('const char *llama_version()')());
    const logCallback = koffi.proto('void fleetgate_quantise_log(int level, const char *text, void *data)');
    const setLog = library.func('llama_log_set', 'void', [koffi.pointer(logCallback), 'void *']);
    checkVersion(packageVersion, version);
    checkLayout(defaults() as QuantiseParams, koffi.sizeof(params), version);
    return {
      version,
      run: (request, onTensor) => {
        const log = new QuantiseLog(onTensor);
        const callback = koffi.register((_level: number, text: string) => log.take(text), koffi.pointer(logCallback));
        setLog(callback, null);
        try {
          const failed = quantise(request.input, request.output, paramsOf(request, defaults() as QuantiseParams));
          if (failed !== 0) throw refused(request.input, log.said);
        } finally {
          setLog(null, null);
          koffi.unregister(callback);
        }
      },
    };
  } catch (error) {
    if (error instanceof FleetError) throw error;
    throw unavailable(`the library in ${folder} cannot be used: ${messageOf(error)}`, error);
  }
}

function paramsOf({ rules, threads, bufferBytes }: QuantiseRequest, defaults: QuantiseParams): QuantiseParams {
  return {
    ...defaults,
    nthread: threads,
    ftype: MOSTLY_Q8_0,
    allow_requantize: true,
    // Without it llama.cpp gives some tensors more bits than the rules say where none matches.
    pure: true,
    tt_overrides: [...rules, { pattern: null, type: 0 }],
    max_buf_size: bufferBytes,
  };
}

/** llama.cpp writes one line a tensor, in pieces. */
class QuantiseLog {
  readonly #onTensor: (tensor: number, tensors: number) => void;
  readonly #lines: string[] = [];
  #line = '';

  constructor(onTensor: (tensor: number, tensors: number) => void) {
    this.#onTensor = onTensor;
  }

  take(text: string): void {
    const started = this.#line === '' ? TENSOR_LINE.exec(text) : null;
    if (started !== null) this.#onTensor(Number(started[1]), Number(started[2]));
    const pieces = (this.#line + text).split('\n');
    this.#line = pieces.pop() ?? '';
    this.#lines.push(...pieces);
    this.#lines.splice(0, this.#lines.length - KEPT_LOG_LINES);
  }

  /** What was said of a failure, else the last line. */
  get said(): string {
    return this.#lines.findLast((line) => /fail|error/i.test(line)) ?? this.#lines.at(-1) ?? '';
  }
}

function checkVersion(packageVersion: string, version: string): void {
  if (packageVersion === KNOWN_PACKAGE && version === KNOWN_LIBRARY) return;
  throw unavailable(
    `node-llama-cpp is ${packageVersion} with llama.cpp ${version}, expected exactly ${KNOWN_PACKAGE} with ${KNOWN_LIBRARY}`,
  );
}

function checkLayout(defaults: QuantiseParams, sizeBytes: number, version: string): void {
  const known =
    sizeBytes === PARAMS_BYTES &&
    defaults.ftype === DEFAULT_FTYPE &&
    defaults.output_tensor_type === defaults.token_embedding_type &&
    defaults.quantize_output_tensor &&
    !defaults.allow_requantize &&
    !defaults.pure &&
    !defaults.dry_run &&
    defaults.tt_overrides === null &&
    defaults.max_buf_size === DEFAULT_BUFFER_BYTES;
  if (known) return;
  throw unavailable(
    `llama.cpp ${version}: llama_model_quantize_params has a layout that is not known (ftype ${defaults.ftype}, ` +
      `buffer ${defaults.max_buf_size}; expected ${DEFAULT_FTYPE}, ${DEFAULT_BUFFER_BYTES})`,
  );
}

function refused(input: string, said: string): FleetError {
  return new FleetError('gguf.unsupported', `${input}: llama.cpp did not quantise it: ${said.trim()}`, {
    hint: 'the architecture may not be known to this llama.cpp, or the file is damaged: `fleetgate gguf inspect` shows it',
  });
}

function unavailable(problem: string, cause?: unknown): FleetError {
  return new FleetError('engine.unavailable', problem, {
    cause,
    hint: 'run `npm install --include=optional` in the repository; prebuilt libraries need glibc on x64 or arm64',
  });
}
