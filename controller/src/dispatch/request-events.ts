import type { FleetError } from '@fleetgate/shared/errors';
import type { DeviceId, ExpertId, PlanId, VariantId } from '@fleetgate/shared/ids';
import type { JobOut, JobUsage, TokenChoice } from '@fleetgate/shared/protocol/job';

/** Who answers. */
export interface Choice {
  readonly expertId: ExpertId;
  readonly variantId: VariantId;
  readonly deviceId: DeviceId;
  readonly planId: PlanId;
}

/**
 * What a client's request sees: chosen (again after a device was lost), tokens, or steps of a `mix` prompt, then, where it
 * was asked for, how likely those tokens were that told nothing with their text, or vectors of texts, then exactly one of done, scored, embedded, failed.
 */
export type RequestEvent =
  | { readonly kind: 'chosen'; readonly choice: Choice }
  | {
      readonly kind: 'tokens';
      readonly text: string;
      readonly tokens: number;
      /** Where asked for: how likely tokens up to the end of the text were. */
      readonly choices?: readonly TokenChoice[] | undefined;
    }
  | { readonly kind: 'choices'; readonly choices: readonly TokenChoice[] }
  | { readonly kind: 'next'; readonly out: JobOut & { readonly kind: 'next' } }
  | {
      readonly kind: 'done';
      readonly choice: Choice;
      readonly finishReason: 'stop' | 'length';
      readonly usage: JobUsage;
      /** Where it was asked for and the engine tells it. */
      readonly meanLogProb?: number | undefined;
    }
  | {
      readonly kind: 'scored';
      readonly choice: Choice;
      readonly bits: number;
      readonly bytes: number;
      readonly usage: JobUsage;
      readonly promptBits?: number | undefined;
      readonly tokenBits?: readonly number[] | undefined;
    }
  /** Vectors of texts, in base64 as in the protocol. */
  | { readonly kind: 'vectors'; readonly vectors: readonly string[] }
  | { readonly kind: 'embedded'; readonly choice: Choice; readonly usage: JobUsage }
  | { readonly kind: 'failed'; readonly error: FleetError };

type TokensEvent = RequestEvent & { readonly kind: 'tokens' };

/**
 * Events of one request for one reader, in order.
 *
 * Never makes the writer wait: texts that were not read yet are joined into one event, so a slow reader costs the memory
 * of one answer and nothing more.
 */
export class RequestEvents implements AsyncIterable<RequestEvent> {
  readonly #unread: RequestEvent[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  push(event: RequestEvent): void {
    if (this.#ended) return;
    const last = this.#unread.at(-1);
    if (event.kind === 'tokens' && last?.kind === 'tokens') {
      this.#unread[this.#unread.length - 1] = joinedTokens(last, event);
    } else {
      this.#unread.push(event);
    }
    this.#ended = isEnd(event);
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Ends after the last event of a request; may be read once. */
  async *[Symbol.asyncIterator](): AsyncGenerator<RequestEvent, void, undefined> {
    for (;;) {
      const event = this.#unread.shift();
      if (event !== undefined) {
        yield event;
        continue;
      }
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** One text of two that follow each other. */
export function joinedTokens(first: TokensEvent, second: TokensEvent): TokensEvent {
  const isTold = first.choices !== undefined || second.choices !== undefined;
  return {
    kind: 'tokens',
    text: first.text + second.text,
    tokens: first.tokens + second.tokens,
    ...(isTold ? { choices: [...(first.choices ?? []), ...(second.choices ?? [])] } : {}),
  };
}

function isEnd({ kind }: RequestEvent): boolean {
  return kind === 'done' || kind === 'scored' || kind === 'embedded' || kind === 'failed';
}
