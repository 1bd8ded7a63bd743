import { resolve } from 'node:path';

import { FleetError } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { modelFacts } from '@fleetgate/shared/gguf/facts';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { bitsOf } from '../engine/logits.js';
import { Prompts } from '../engine/prompt-tokens.js';
import { SlabModel } from '../engine/slab-model.js';
import { SlabVocabulary } from '../engine/slab-vocabulary.js';
import { type SlabLayout, slabLayout } from '../gguf/slab-layout.js';
import { openLlamaLibrary } from '../native/llama-library.js';
import type { KeepSets, RoutedLayer } from '../slabs/routing.js';
import type { SlabText } from './slab-texts.js';

/** A document as tokens: all but the last are evaluated, all but the first are scored. */
export type SlabDocument = readonly number[];

export interface DocumentBits {
  readonly bits: number;
  /** Tokens scored: all but the first. */
  readonly tokens: number;
  /** UTF-8 bytes of those tokens; an end token has none. */
  readonly bytes: number;
}

/** Called with each layer's choice for the tokens of a document from `start` on. */
export type OnRouted = (routed: RoutedLayer, start: number) => void;

const MOST_BATCH = 256;
const MOST_LOGITS_BYTES = 32 * 2 ** 20;

/** A mixture of experts opened for commands that look at its routing. Everything is gone after `close`. */
export class SlabSession {
  readonly path: string;
  readonly header: GgufHeader;
  readonly layout: SlabLayout;
  readonly #model: SlabModel;
  readonly #vocabulary: SlabVocabulary;
  readonly #prompts: Prompts<number>;
  readonly #maxTokens: number;
  readonly #logits: Float32Array;

  private constructor(
    path: string,
    header: GgufHeader,
    layout: SlabLayout,
    model: SlabModel,
    vocabulary: SlabVocabulary,
    maxTokens: number,
  ) {
    this.path = path;
    this.header = header;
    this.layout = layout;
    this.#model = model;
    this.#vocabulary = vocabulary;
    this.#prompts = new Prompts(vocabulary);
    this.#maxTokens = maxTokens;
    this.#logits = new Float32Array(model.vocabulary);
  }

  /** Throws `usage.invalid` for a dense model, and what reading and loading the file throw. */
  static async open(
    file: string,
    options: { readonly threads: number; readonly maxTokens: number },
  ): Promise<SlabSession> {
    const path = resolve(file);
    const header = await readGguf(path);
    const facts = modelFacts(header, path);
    const layout = slabLayout(header, path);
    if (layout === undefined) {
      throw new FleetError('usage.invalid', `${file} is a dense model, expected a mixture of experts`, {
        hint: '`fleetgate gguf inspect` shows what a file holds',
      });
    }
    const maxTokens = Math.min(options.maxTokens, facts.contextTokens);
    const library = await openLlamaLibrary();
    const vocabularySize = header.metadata.get('tokenizer.ggml.tokens')?.value;
    const words = typeof vocabularySize === 'object' ? vocabularySize.length : 1;
    const batchTokens = Math.max(8, Math.min(MOST_BATCH, maxTokens, Math.floor(MOST_LOGITS_BYTES / (4 * words))));
    const model = SlabModel.open(library, {
      path,
      layout,
      contextTokens: maxTokens,
      sequences: 1,
      threads: options.threads,
      batchTokens,
    });
    return new SlabSession(path, header, layout, model, new SlabVocabulary(library, model.vocab, header), maxTokens);
  }

  /** Slabs that stay in play; undefined: all. */
  set keep(keep: KeepSets | undefined) {
    this.#model.keep = keep;
  }

  /** Active slabs per token; undefined: the file's. */
  set slabsPerToken(active: number | undefined) {
    this.#model.slabsPerToken = active;
  }

  /**
   * Documents of texts: beginning token, the chat prompt by the file's own template, the completion, end token; plain text
   * in pieces. Each is cut to the most tokens.
   */
  documents(texts: readonly SlabText[], most = Infinity): readonly SlabDocument[] {
    return texts.flatMap((text) => this.#documentsOf(text)).slice(0, most);
  }

  textOf(token: number): string {
    return this.#vocabulary.detokenise([token]);
  }

  /** Evaluates a document, with all of its logits. */
  evaluate(document: SlabDocument, onRouted?: OnRouted): DocumentBits {
    this.#model.forget(0, 0);
    let bits = 0;
    const last = document.length - 1;
    for (let start = 0; start < last; start += this.#model.batchTokens) {
      const chunk = document.slice(start, Math.min(last, start + this.#model.batchTokens));
      this.#model.listener =
        onRouted === undefined ? undefined : { probabilities: true, onRouted: (routed) => onRouted(routed, start) };
      this.#model.evaluate(chunk.map((token, i) => ({ token, position: start + i, sequence: 0, output: true })));
      for (let i = 0; i < chunk.length; i++) {
        this.#model.logits(i, this.#logits);
        bits += bitsOf(this.#logits, document[start + i + 1] ?? 0);
      }
    }
    return { bits, tokens: last, bytes: Buffer.byteLength(this.#vocabulary.detokenise(document.slice(1))) };
  }

  close(): void {
    this.#model.close();
  }

  #documentsOf(text: SlabText): readonly SlabDocument[] {
    if ('text' in text) {
      const tokens = this.#vocabulary.tokenise(text.text, 'plain');
      const { firstToken } = this.#vocabulary;
      const size = this.#maxTokens - (firstToken === undefined ? 0 : 1);
      return Array.from({ length: Math.ceil(tokens.length / size) }, (_, i) => [
        ...(firstToken === undefined ? [] : [firstToken]),
        ...tokens.slice(i * size, (i + 1) * size),
      ]).filter((document) => document.length > 1);
    }
    const messages = [{ role: 'user' as const, content: text.prompt }];
    const { tokens, endsWithSpace } = this.#prompts.tokensOf({ kind: 'chat', messages });
    const answer = this.#vocabulary.tokenise(`${endsWithSpace ? '' : ' '}${text.completion}`, 'plain');
    const end = this.#vocabulary.endToken;
    return [[...tokens, ...answer, ...(end === undefined ? [] : [end])].slice(0, this.#maxTokens)];
  }
}
