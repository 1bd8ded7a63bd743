import { systemClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import { bytes, milliseconds } from '@fleetgate/shared/units/quantity';

import {
  type Call,
  type Calls,
  type ChildOptions,
  type FromChild,
  type ToChild,
  toPlainError,
} from './child-message.js';
import type { EngineModel, GenerateResult, LoadedModel, MixStep, OnText } from './engine.js';
import { loadError } from './llama-failure.js';
import { offerToOutOfMemoryKiller } from './linux-memory-killer.js';
import type { ModelHost } from './model-host.js';
import { TextBatches } from './text-batches.js';

interface Running {
  readonly variantId: VariantId | undefined;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/** Goes on with a `mix` call that waits for its next token; undefined ends it as cancelled. */
type Resume = (token: number | undefined) => void;

/** Loads a model and gives its host. Rejects with a FleetError. */
export type OpenHost = (model: EngineModel, signs: SignsOfLife, signal: AbortSignal) => Promise<ModelHost>;

export interface SignsOfLife {
  /** A step was finished; told with the next heartbeat. */
  readonly onProgress: () => void;
  /** A step takes long but gets on: told at once, since nothing else is until the step is done. */
  readonly onWaiting: () => void;
}

/** The child's side of an engine: hosts resident variants and answers the parent's calls about them. */
export class EngineChild {
  readonly #open: OpenHost;
  readonly #resident = new Map<VariantId, { host: ModelHost; loaded: LoadedModel }>();
  readonly #running = new Map<number, Running>();
  readonly #waiting = new Map<number, Resume>();
  /** Loads and unloads come one after the other, so that memory can be told apart. */
  #changes: Promise<unknown> = Promise.resolve();
  #progress = 0;

  readonly #signs: SignsOfLife = {
    onProgress: () => this.#progress++,
    onWaiting: () => {
      this.#progress++;
      this.beat();
    },
  };

  constructor(open: OpenHost) {
    this.#open = open;
  }

  receive(message: ToChild): void {
    if (message.kind === 'cancel') {
      this.#running.get(message.id)?.abort.abort();
      return;
    }
    if (message.kind === 'token') {
      this.#waiting.get(message.id)?.(message.token);
      return;
    }
    if (message.kind === 'slabs') {
      this.#resident.get(message.variantId)?.host.setSlabsPerToken?.(message.slabs ?? undefined);
      return;
    }
    const abort = new AbortController();
    if (message.aborted === true) abort.abort();
    const variantId = 'variantId' in message ? message.variantId : undefined;
    const ended = this.#answer(message, abort.signal).finally(() => this.#running.delete(message.id));
    this.#running.set(message.id, { variantId: message.kind === 'unload' ? undefined : variantId, abort, ended });
  }

  beat(): void {
    send({ kind: 'heartbeat', progress: this.#progress, busy: this.#running.size > this.#waiting.size });
  }

  async #answer(call: Call, signal: AbortSignal): Promise<void> {
    try {
      send({ kind: 'done', id: call.id, result: await this.#run(call, signal) });
    } catch (error) {
      send({ kind: 'failed', id: call.id, error: toPlainError(error) });
    }
  }

  async #run(call: Call, signal: AbortSignal): Promise<Calls[Call['kind']]['answers']> {
    switch (call.kind) {
      case 'load':
        return this.#inTurn(() => this.#load(call.model, signal));
      case 'unload':
        return this.#inTurn(() => this.#unload(call.variantId));
      case 'generate':
        return this.#generate(call, signal);
      case 'mix':
        return this.#host(call.variantId).mix(call.options, (step) => this.#choice(call.id, step, signal), signal);
      case 'score':
        return this.#host(call.variantId).score(call.prompt, call.completion, signal, call.wishes);
      case 'embed':
        return this.#host(call.variantId).embed(call.texts, signal);
    }
  }

  async #generate(call: Call & { readonly kind: 'generate' }, signal: AbortSignal): Promise<GenerateResult> {
    const { id, variantId, input, sampling, seed, extras } = call;
    const out = new TextBatches(systemClock, (text, tokens, ids, choices) => {
      const told = { ...(ids === undefined ? {} : { ids }), ...(choices === undefined ? {} : { choices }) };
      send({ kind: 'text', id, text, tokens, ...told });
    });
    const onText: OnText = (...piece) => out.push(...piece);
    try {
      return await this.#host(variantId).generate(input, sampling, seed, onText, signal, extras);
    } finally {
      out.end();
    }
  }

  /** The token that the parent chooses; undefined when the call is cancelled first. */
  async #choice(id: number, step: MixStep, signal: AbortSignal): Promise<number | undefined> {
    if (signal.aborted) return undefined;
    const abandon = (): void => this.#waiting.get(id)?.(undefined);
    try {
      return await new Promise((resolve) => {
        this.#waiting.set(id, resolve);
        signal.addEventListener('abort', abandon, { once: true });
        send({ kind: 'step', id, step });
      });
    } finally {
      this.#waiting.delete(id);
      signal.removeEventListener('abort', abandon);
    }
  }

  #host(variantId: VariantId): ModelHost {
    const resident = this.#resident.get(variantId);
    if (resident !== undefined) return resident.host;
    throw new FleetError('engine.unavailable', `variant ${variantId} is not resident`, { retryable: true });
  }

  async #load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel> {
    const present = this.#resident.get(model.variantId);
    if (present !== undefined) {
      if (isSameModel(present.host.model, model)) return present.loaded;
      await this.#unload(model.variantId);
    }
    if (signal.aborted) throw loadError(model, undefined, '', signal);
    const startedAt = performance.now();
    const before = process.memoryUsage.rss();
    const host = await this.#open(model, this.#signs, signal);
    const grown = process.memoryUsage.rss() - before;
    const loaded = {
      memory: bytes(Math.max(grown, host.accountedBytes)),
      loadTime: milliseconds(performance.now() - startedAt),
      ...(host.residency === undefined ? {} : { residency: host.residency }),
      ...(host.patterns === undefined ? {} : { patterns: host.patterns }),
    };
    this.#resident.set(model.variantId, { host, loaded });
    return loaded;
  }

  async #unload(variantId: VariantId): Promise<null> {
    const resident = this.#resident.get(variantId);
    if (resident === undefined) return null;
    this.#resident.delete(variantId);
    const jobs = [...this.#running.values()].filter((job) => job.variantId === variantId);
    for (const job of jobs) job.abort.abort();
    await Promise.all(jobs.map((job) => job.ended));
    await resident.host.dispose();
    return null;
  }

  async #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#changes.then(run);
    this.#changes = result.catch(() => undefined);
    return result;
  }
}

function isSameModel(a: EngineModel, b: EngineModel): boolean {
  return (
    a.path === b.path &&
    a.contextTokens === b.contextTokens &&
    JSON.stringify([a.serving ?? null, a.adapters ?? []]) === JSON.stringify([b.serving ?? null, b.adapters ?? []])
  );
}

function send(message: FromChild): void {
  if (process.connected) process.send?.(message);
}

/** What a child has once it can take calls. */
export interface StartedChild {
  readonly open: OpenHost;
  readonly version: string;
}

/** Runs a child process of an engine until its parent is gone: `start` readies what its hosts need. */
export async function runEngineChild(start: (options: ChildOptions) => Promise<StartedChild>): Promise<void> {
  // Without a parent there is nobody to answer to; IPC breaks also when the parent was killed.
  process.on('disconnect', () => process.exit(0));
  process.on('SIGTERM', () => process.exit(0));
  // Ctrl-C reaches the whole group: the parent decides when this process ends.
  process.on('SIGINT', () => {});
  offerToOutOfMemoryKiller();
  const options = JSON.parse(process.argv[2] ?? '{}') as ChildOptions;
  try {
    const { open, version } = await start(options);
    const child = new EngineChild(open);
    send({ kind: 'started', version });
    process.on('message', (message) => child.receive(message as ToChild));
    setInterval(() => child.beat(), options.heartbeatMs);
  } catch (error) {
    const failure: FromChild = { kind: 'start-failed', error: toPlainError(error) };
    process.send?.(failure, undefined, undefined, () => process.exit(1));
  }
}
