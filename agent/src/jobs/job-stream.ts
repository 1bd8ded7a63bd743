import type { Clock } from '@fleetgate/shared/clock';
import type { JobId } from '@fleetgate/shared/ids';
import { type JobOut, type JobUsage, MOST_CHOICES, type TokenChoice } from '@fleetgate/shared/protocol/job';
import { type MessageError, PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { MixStep } from '../engine/engine.js';

/** Between two messages of text: a reader sees no difference, the broker carries a fraction of the messages. */
const GAP = milliseconds(25);
/** Characters of vectors in one message: a quarter of what the broker takes, or one vector. */
const MOST_VECTOR_CHARACTERS = 65_536;
/** Characters of text in one message: at most a quarter of what the broker takes, even if each becomes four bytes. */
const MOST_CHARACTERS = 16_384;

export type JobEnd =
  | {
      readonly kind: 'done';
      readonly finishReason: 'stop' | 'length' | 'cancelled';
      readonly usage: JobUsage;
      readonly meanLogProb?: number;
    }
  | {
      readonly kind: 'scored';
      readonly bits: number;
      readonly bytes: number;
      readonly usage: JobUsage;
      readonly promptBits?: number;
      readonly tokenBits?: number[];
    }
  | { readonly kind: 'embedded'; readonly usage: JobUsage }
  | { readonly kind: 'failed'; readonly error: MessageError; readonly usage?: JobUsage };

/**
 * One job's messages: numbered without gaps, text coalesced (the first piece goes at once), one end and nothing after.
 */
export class JobStream {
  readonly #jobId: JobId;
  readonly #clock: Clock;
  readonly #emit: (out: JobOut) => void;
  #seq = 0;
  #text = '';
  #tokens = 0;
  #ids: number[] | undefined;
  #choices: TokenChoice[] = [];
  #outputTokens = 0;
  #spoke = false;
  #cancelFlush: (() => void) | undefined;
  #ended = false;

  constructor(jobId: JobId, clock: Clock, emit: (out: JobOut) => void) {
    this.#jobId = jobId;
    this.#clock = clock;
    this.#emit = emit;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  get outputTokens(): number {
    return this.#outputTokens;
  }

  accepted(queuePosition: number): void {
    if (!this.#ended) this.#emit({ ...this.#head(), kind: 'accepted', queuePosition });
  }

  /** `choices`: how likely tokens of it were. */
  text(text: string, tokens: number, ids?: readonly number[], choices: readonly TokenChoice[] = []): void {
    if (this.#ended) return;
    this.#text += text;
    if (ids !== undefined) this.#ids = [...(this.#ids ?? []), ...ids];
    this.#choices.push(...choices);
    this.#tokens += tokens;
    this.#outputTokens += tokens;
    if (!this.#spoke) this.#flush();
    else this.#cancelFlush ??= this.#clock.after(GAP, () => this.#flush());
  }

  /** Tokens of an answer whose text is complete. */
  choices(all: readonly TokenChoice[]): void {
    if (this.#ended) return;
    this.#flush();
    this.#tell(all);
  }

  #tell(all: readonly TokenChoice[]): void {
    for (let start = 0; start < all.length; start += MOST_CHOICES) {
      this.#emit({ ...this.#head(), kind: 'choices', choices: all.slice(start, start + MOST_CHOICES).map(told) });
    }
  }

  /** Vectors of texts, in their order. */
  vectors(all: readonly (readonly number[])[]): void {
    if (this.#ended) return;
    let some: string[] = [];
    let characters = 0;
    const send = (): void => {
      if (some.length > 0) this.#emit({ ...this.#head(), kind: 'vectors', vectors: some });
      [some, characters] = [[], 0];
    };
    for (const vector of all) {
      const encoded = Buffer.from(Float32Array.from(vector).buffer).toString('base64');
      if (characters + encoded.length > MOST_VECTOR_CHARACTERS) send();
      some.push(encoded);
      characters += encoded.length;
    }
    send();
  }

  /** A step of a mixed answer; its text goes along. */
  next({ step, next, promptBits, text }: MixStep): void {
    if (this.#ended) return;
    this.#outputTokens = step;
    const { ids, logProbs, restProb } = next;
    this.#emit({
      ...this.#head(),
      kind: 'next',
      step,
      ids: [...ids],
      logProbs: logProbs.map(rounded),
      restProb: Number(restProb.toPrecision(6)),
      text,
      ...(promptBits === undefined ? {} : { promptBits: rounded(promptBits) }),
    });
  }

  /** Ends the job; later ends are ignored. Returns whether this was the first. */
  end(end: JobEnd): boolean {
    if (this.#ended) return false;
    this.#flush();
    this.#ended = true;
    this.#emit({ ...this.#head(), ...end });
    return true;
  }

  #flush(): void {
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    // Tokens without text (half a character) wait for the text that they belong to.
    if (this.#text === '') return;
    this.#spoke = true;
    const all = [...pieces(this.#text)];
    // More than one message holds of came together only where the reader waited for long.
    const choices = this.#choices.splice(0, MOST_CHOICES).map(told);
    const last = {
      ...(this.#ids === undefined ? {} : { ids: this.#ids }),
      ...(choices.length === 0 ? {} : { choices }),
    };
    for (const [i, text] of all.entries()) {
      // With the last piece: tokens that are told before their text would be taken up without it.
      const more = i < all.length - 1 ? {} : last;
      this.#emit({ ...this.#head(), kind: 'tokens', text, tokens: Math.max(1, this.#tokens), ...more });
      this.#tokens = 0;
    }
    this.#tell(this.#choices.splice(0));
    this.#text = '';
    this.#ids = undefined;
  }

  #head() {
    return { v: PROTOCOL_VERSION, jobId: this.#jobId, seq: this.#seq++ } as const;
  }
}

function told({ text, logProb, top }: TokenChoice): TokenChoice {
  const likely = (one: { readonly text: string; readonly logProb: number }) => ({
    text: one.text,
    // Single precision may put a sure token a hair above 0.
    logProb: Math.min(0, rounded(one.logProb)),
  });
  return { ...likely({ text, logProb }), top: top.map(likely) };
}

/** The end of a scored job: bits of tokens as they go over the wire. */
export function scoredOut(
  score: { readonly bits: number; readonly bytes: number; readonly usage: JobUsage },
  promptBits: number | undefined,
  tokenBits: readonly number[] | undefined,
): JobEnd {
  return {
    kind: 'scored',
    ...score,
    ...(promptBits === undefined ? {} : { promptBits: Math.max(0, rounded(promptBits)) }),
    // Single precision may put a sure token a hair below 0.
    ...(tokenBits === undefined ? {} : { tokenBits: tokenBits.map((bits) => Math.max(0, rounded(bits))) }),
  };
}

/** To 1e-4: far below what a model's own arithmetic tells apart, and half the bytes. */
function rounded(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}

function* pieces(text: string): Iterable<string> {
  for (let start = 0; start < text.length;) {
    let end = Math.min(text.length, start + MOST_CHARACTERS);
    // Never between the halves of a surrogate pair.
    if (end < text.length && /[\uD800-\uDBFF]/.test(text.charAt(end - 1))) end -= 1;
    yield text.slice(start, end);
    start = end;
  }
}
