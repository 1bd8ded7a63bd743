import type { Address, LlamaLibrary } from '../native/llama-library.js';
import { badGrammar } from './llama-grammar.js';
import type { SlabVocabulary } from './slab-vocabulary.js';

/** Of `llama_token_data`: token, logit, probability; and of the array that holds them. */
const NUMBERS_PER_TOKEN = 3;
const ARRAY_BYTES = 32;

/** Keeps an answer within a grammar: takes away, at every token, what the grammar does not allow. */
export class SlabGrammar {
  readonly #library: LlamaLibrary;
  readonly #sampler: Address;
  readonly #tokens: ReturnType<LlamaLibrary['fixedInts']>;
  readonly #logits: Float32Array;
  readonly #array = Buffer.alloc(ARRAY_BYTES);

  private constructor(library: LlamaLibrary, sampler: Address, tokens: ReturnType<LlamaLibrary['fixedInts']>) {
    this.#library = library;
    this.#sampler = sampler;
    this.#tokens = tokens;
    this.#logits = new Float32Array(tokens.ints.buffer);
  }

  /** `room`: memory for one grammar at a time, shared by all of a model. Throws `request.invalid` for no grammar. */
  static open(
    library: LlamaLibrary,
    vocabulary: SlabVocabulary,
    text: string,
    room: ReturnType<LlamaLibrary['fixedInts']>,
  ): SlabGrammar {
    const sampler = library.samplerGrammar(vocabulary.address, text, 'root');
    if (sampler === 0) throw badGrammar(library.log.at(-1) ?? '');
    return new SlabGrammar(library, sampler, room);
  }

  /** Memory that `open` needs, for a vocabulary. */
  static room(library: LlamaLibrary, vocabulary: SlabVocabulary): ReturnType<LlamaLibrary['fixedInts']> {
    return library.fixedInts(NUMBERS_PER_TOKEN * vocabulary.size);
  }

  /** Makes logits of tokens that may not come now -Infinity. */
  apply(logits: Float32Array): void {
    const { ints, address } = this.#tokens;
    for (let token = 0; token < logits.length; token++) {
      ints[NUMBERS_PER_TOKEN * token] = token;
      this.#logits[NUMBERS_PER_TOKEN * token + 1] = logits[token] ?? 0;
    }
    this.#array.writeBigUInt64LE(BigInt(address), 0);
    this.#array.writeBigUInt64LE(BigInt(logits.length), 8);
    this.#array.writeBigInt64LE(-1n, 16);
    this.#array[24] = 0;
    this.#library.samplerApply(this.#sampler, this.#array);
    for (let token = 0; token < logits.length; token++)
      logits[token] = this.#logits[NUMBERS_PER_TOKEN * token + 1] ?? 0;
  }

  accept(token: number): void {
    this.#library.samplerAccept(this.#sampler, token);
  }

  close(): void {
    this.#library.samplerFree(this.#sampler);
  }
}
