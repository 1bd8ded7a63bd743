import type { FleetError } from '@fleetgate/shared/errors';

import { type Call, type CallKind, type Calls, type FromChild, fromPlainError, type ToChild } from './child-message.js';

export type OnText = (text: string, tokens: number) => void;

interface Pending {
  readonly resolve: (result: Calls[CallKind]['answers']) => void;
  readonly reject: (error: FleetError) => void;
  readonly onText: OnText | undefined;
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
    child: { send(message: ToChild): void },
    call: { readonly kind: K } & Calls[K]['takes'],
    signal?: AbortSignal,
    onText?: OnText,
  ): Promise<Calls[K]['answers']> {
    const id = ++this.#lastId;
    const cancel = (): void => child.send({ kind: 'cancel', id });
    try {
      return await new Promise<Calls[CallKind]['answers']>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject, onText });
        child.send({ ...call, id } as unknown as Call);
        if (signal?.aborted === true) cancel();
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
        pending.onText?.(message.text, message.tokens);
        return;
      case 'done':
        pending.resolve(message.result);
        return;
      case 'failed':
        pending.reject(fromPlainError(message.error));
    }
  }

  /** Rejects every call: nobody is there to answer. */
  lose(error: FleetError): void {
    for (const pending of this.#pending.values()) pending.reject(error);
  }
}
