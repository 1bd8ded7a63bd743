import type { FleetError } from '@fleetgate/shared/errors';

import { type Call, type CallKind, type Calls, type FromChild, fromPlainError, type ToChild } from './child-message.js';
import type { MixStep, OnText } from './engine.js';

/** What is heard of a call before its answer. */
export interface OnTheWay {
  readonly onText?: OnText;
  /** Chooses the token that the child waits for. Its rejection ends the call. */
  readonly choose?: (step: MixStep) => Promise<number>;
}

interface Pending extends OnTheWay {
  readonly child: Child;
  readonly resolve: (result: Calls[CallKind]['answers']) => void;
  readonly reject: (error: unknown) => void;
}

interface Child {
  send(message: ToChild): void;
}

/** Calls to the engine's child that are not answered yet, by their number. */
export class ChildCalls {
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  get count(): number {
    return this.#pending.size;
  }

  /** Sends a call and waits for its answer. Aborting asks the child to end it; its answer still comes. */
  async make<K extends CallKind>(
    child: Child,
    call: { readonly kind: K } & Calls[K]['takes'],
    signal?: AbortSignal,
    onTheWay: OnTheWay = {},
  ): Promise<Calls[K]['answers']> {
    const id = ++this.#lastId;
    const cancel = (): void => child.send({ kind: 'cancel', id });
    try {
      return await new Promise<Calls[CallKind]['answers']>((resolve, reject) => {
        this.#pending.set(id, { child, resolve, reject, ...onTheWay });
        const aborted = signal?.aborted === true ? { aborted: true } : {};
        child.send({ ...call, ...aborted, id } as unknown as Call);
        signal?.addEventListener('abort', cancel, { once: true });
      });
    } finally {
      this.#pending.delete(id);
      signal?.removeEventListener('abort', cancel);
    }
  }

  receive(message: FromChild): void {
    if (!('id' in message)) return;
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    switch (message.kind) {
      case 'text':
        pending.onText?.(message.text, message.tokens, message.ids, message.choices);
        return;
      case 'step':
        void this.#choose(message.id, pending, message.step);
        return;
      case 'done':
        pending.resolve(message.result);
        return;
      case 'failed':
        pending.reject(fromPlainError(message.error));
    }
  }

  async #choose(id: number, { child, choose, reject }: Pending, step: MixStep): Promise<void> {
    try {
      const token = await choose?.(step);
      if (token === undefined) child.send({ kind: 'cancel', id });
      else child.send({ kind: 'token', id, token });
    } catch (error) {
      child.send({ kind: 'cancel', id });
      reject(error);
    }
  }

  /** Rejects every call: nobody is there to answer. */
  lose(error: FleetError): void {
    for (const pending of this.#pending.values()) pending.reject(error);
  }
}
