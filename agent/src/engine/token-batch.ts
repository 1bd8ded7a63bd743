import type { LlamaLibrary } from '../native/llama-library.js';
import type { Batch } from '../native/llama-structs.js';

/** One token of an evaluation. */
export interface BatchToken {
  readonly token: number;
  readonly position: number;
  readonly sequence: number;
  /** Whether its logits are wanted. */
  readonly output: boolean;
}

/** Tokens as llama.cpp takes them; made once, filled for every evaluation. */
export class TokenBatch {
  readonly #batch: Batch;
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #outputs: Int8Array;
  readonly #sequences: Int32Array;

  /** For at most so many tokens. */
  constructor(library: LlamaLibrary, most: number) {
    this.#tokens = new Int32Array(most);
    this.#positions = new Int32Array(most);
    this.#outputs = new Int8Array(most);
    // Each token has a list of its sequences: one number, which has to stay where it is.
    const { ints, address } = library.fixedInts(most);
    this.#sequences = ints;
    this.#batch = {
      n_tokens: 0,
      token: this.#tokens,
      embd: null,
      pos: this.#positions,
      n_seq_id: new Int32Array(most).fill(1),
      seq_id: BigUint64Array.from({ length: most }, (_, i) => BigInt(address + 4 * i)),
      logits: this.#outputs,
    };
  }

  /** Valid until it is filled again. */
  of(tokens: readonly BatchToken[]): Batch {
    for (const [i, { token, position, sequence, output }] of tokens.entries()) {
      this.#tokens[i] = token;
      this.#positions[i] = position;
      this.#outputs[i] = output ? 1 : 0;
      this.#sequences[i] = sequence;
    }
    this.#batch.n_tokens = tokens.length;
    return this.#batch;
  }
}
