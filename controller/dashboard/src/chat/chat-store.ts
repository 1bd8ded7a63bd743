/** The conversation: sends prompts, follows their streams, fetches the record of each answer. */
import { type ReadonlySignal, signal } from '@preact/signals';
import type { RequestView } from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Client } from '../api/client.js';
import { ApiFailure, asFailure } from '../api/failure.js';
import { SseParser } from '../api/sse.js';
import { hasEnded as recordHasEnded } from '../record/record-words.js';
import {
  beginExchange,
  type Exchange,
  hasEnded,
  withEnd,
  withFailure,
  withFrame,
  withHeaders,
  withStop,
} from './exchange.js';

const MAX_EXCHANGES = 30;
/** A device that loads a large model first may be quiet for long; longer than this is no answer any more. */
const SILENCE_DEADLINE_MS = 180_000;
/** A record is complete a moment after its answer: asked for this often, this far apart. */
const RECORD_TRIES = 5;
const RECORD_GAP_MS = 300;

/** Why a stream was aborted, when a person did it. */
const STOPPED = Symbol('stopped by the reader');

export interface ChatStore {
  readonly exchanges: ReadonlySignal<readonly Exchange[]>;
  /** Key of the exchange whose record is shown. */
  readonly selected: ReadonlySignal<number | null>;
  readonly records: ReadonlySignal<ReadonlyMap<string, RequestView>>;
  readonly models: ReadonlySignal<readonly string[]>;
  loadModels(): Promise<void>;
  ask(model: string, prompt: string): Promise<void>;
  /** Aborts the running answer; generation stops on the device. */
  stop(): void;
  select(key: number): void;
}

export function createChatStore(client: Client, clock: Clock, needsKey: () => void): ChatStore {
  const exchanges = signal<readonly Exchange[]>([]);
  const selected = signal<number | null>(null);
  const records = signal<ReadonlyMap<string, RequestView>>(new Map());
  const models = signal<readonly string[]>([]);
  let nextKey = 1;
  let running: AbortController | null = null;

  function change(key: number, to: (exchange: Exchange) => Exchange): Exchange | undefined {
    exchanges.value = exchanges.value.map((exchange) => (exchange.key === key ? to(exchange) : exchange));
    return exchanges.value.find((exchange) => exchange.key === key);
  }

  async function ask(model: string, prompt: string): Promise<void> {
    if (running !== null) return;
    const key = nextKey++;
    const abort = new AbortController();
    running = abort;
    exchanges.value = [...exchanges.value, beginExchange(key, model, prompt)].slice(-MAX_EXCHANGES);
    selected.value = key;
    try {
      await follow(key, model, prompt, abort);
      change(key, withEnd);
    } catch (error) {
      const cause: unknown = abort.signal.aborted ? abort.signal.reason : error;
      if (cause === STOPPED) change(key, withStop);
      else {
        const failure = asFailure(cause);
        change(key, (exchange) => withFailure(exchange, failure));
        if (failure.needsKey) needsKey();
      }
    } finally {
      running = null;
      abort.abort();
    }
    const ended = exchanges.value.find((exchange) => exchange.key === key);
    if (ended?.requestId !== undefined && ended.requestId !== null) await loadRecord(ended.requestId);
  }

  async function follow(key: number, model: string, prompt: string, abort: AbortController): Promise<void> {
    const silent = (): (() => void) =>
      clock.after(milliseconds(SILENCE_DEADLINE_MS), () =>
        abort.abort(new ApiFailure('The answer stalled: nothing came for three minutes.', null)),
      );
    let cancel = silent();
    try {
      const response = await client.open('/v1/chat/completions', {
        method: 'POST',
        signal: abort.signal,
        body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: prompt }] }),
      });
      change(key, (exchange) => withHeaders(exchange, response.headers));
      if (response.body === null) throw new ApiFailure('The answer has no body.', response.status);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new SseParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        cancel();
        cancel = silent();
        const frames = parser.push(value);
        const now = change(key, (exchange) => frames.reduce(withFrame, exchange));
        if (now === undefined || hasEnded(now)) return;
      }
    } finally {
      cancel();
    }
  }

  async function loadRecord(requestId: string): Promise<void> {
    for (let tries = 0; tries < RECORD_TRIES; tries += 1) {
      try {
        const record = await client.get<RequestView>(`/api/v1/requests/${encodeURIComponent(requestId)}`);
        records.value = new Map(records.value).set(requestId, record);
        if (recordHasEnded(record)) return;
      } catch {
        // The live feed may still bring the record; without it the answer stands alone.
      }
      await new Promise<void>((resolve) => clock.after(milliseconds(RECORD_GAP_MS), resolve));
    }
  }

  return {
    exchanges,
    selected,
    records,
    models,
    ask,
    stop: () => running?.abort(STOPPED),
    select: (key) => {
      selected.value = key;
    },
    async loadModels() {
      try {
        const list = await client.get<{ readonly data: readonly { readonly id: string }[] }>('/v1/models');
        models.value = list.data.map((model) => model.id);
      } catch {
        // The list of an earlier connection is better than none; `auto` can always be asked.
      }
    },
  };
}
