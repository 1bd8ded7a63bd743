import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import type { Address, LlamaLibrary } from '../native/llama-library.js';
import type { Vocabulary } from './prompt-tokens.js';

const LONGEST_PIECE = 512;
/** `tokenizer.ggml.token_type`: what a user must not be able to spell in a message. */
const TYPE_CONTROL = 3;
const TYPE_USER_DEFINED = 4;

/** A model's tokens, through llama.cpp's C interface. */
export class SlabVocabulary implements Vocabulary<number> {
  readonly format: Vocabulary<number>['format'];
  readonly firstToken: number | undefined;
  /** The token that ends a document. */
  readonly endToken: number | undefined;
  readonly size: number;
  readonly address: Address;
  readonly #library: LlamaLibrary;
  readonly #vocab: Address;
  readonly #header: GgufHeader;
  readonly #piece = Buffer.alloc(LONGEST_PIECE);

  constructor(library: LlamaLibrary, vocab: Address, header: GgufHeader) {
    this.#library = library;
    this.#vocab = vocab;
    this.address = vocab;
    this.#header = header;
    this.size = library.vocabTokens(vocab);
    const [bos, eos] = [library.vocabBos(vocab), library.vocabEos(vocab)];
    this.firstToken = bos >= 0 && library.vocabAddsBos(vocab) ? bos : undefined;
    this.endToken = eos >= 0 ? eos : undefined;
    const template = header.metadata.get('tokenizer.chat_template')?.value;
    this.format = {
      template: typeof template === 'string' ? template : undefined,
      bosText: bos >= 0 ? this.#spelled(bos) : '',
      eosText: eos >= 0 ? this.#spelled(eos) : '',
    };
  }

  tokenise(text: string, specials: 'specials' | 'plain' = 'specials'): readonly number[] {
    const bytes = Buffer.from(text, 'utf8');
    const isSpecial = specials === 'specials';
    let out = new Int32Array(bytes.length + 8);
    let count = this.#library.tokenize(this.#vocab, bytes, bytes.length, out, out.length, false, isSpecial);
    if (count < 0) {
      out = new Int32Array(-count);
      count = this.#library.tokenize(this.#vocab, bytes, bytes.length, out, out.length, false, isSpecial);
    }
    return [...out.subarray(0, Math.max(0, count))];
  }

  /** Text of tokens; an incomplete character at the end is one U+FFFD. Special tokens have none. */
  detokenise(tokens: readonly number[]): string {
    return Buffer.concat(tokens.map((token) => this.#bytes(token, false))).toString('utf8');
  }

  specialTexts(): readonly string[] {
    const types = this.#header.metadata.get('tokenizer.ggml.token_type')?.value;
    const kept = typeof types === 'object' ? types.elements : undefined;
    const texts: string[] = [];
    for (let token = 0; token < this.size; token++) {
      const type = kept?.[token];
      const isSpecial =
        kept === undefined
          ? this.#bytes(token, false).length === 0
          : type === TYPE_CONTROL || type === TYPE_USER_DEFINED;
      if (isSpecial) texts.push(this.#spelled(token));
    }
    return texts;
  }

  endsAnswer(token: number): boolean {
    return this.#library.isEog(this.#vocab, token);
  }

  #spelled(token: number): string {
    return this.#bytes(token, true).toString('utf8');
  }

  #bytes(token: number, special: boolean): Buffer {
    const length = this.#library.tokenToPiece(this.#vocab, token, this.#piece, LONGEST_PIECE, 0, special);
    if (length >= 0) return Buffer.from(this.#piece.subarray(0, length));
    const long = Buffer.alloc(-length);
    this.#library.tokenToPiece(this.#vocab, token, long, long.length, 0, special);
    return long;
  }
}
