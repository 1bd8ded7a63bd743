import type { VariantId } from '@fleetgate/shared/ids';
import { type BegunAnswer, type JobOut, MOST_TOKEN_IDS } from '@fleetgate/shared/protocol/job';

import type { Prompt } from './prompt.js';

/** What a client has of an answer, so that another device can go on with it. */
export class SaidSoFar {
  #text = '';
  #tokens = 0;
  #variantId: VariantId | undefined;
  /** Undefined once some of the tokens are not known, or of another vocabulary. */
  #ids: number[] | undefined = [];
  /** Whether all of it came with how likely its tokens were. */
  #isTold = true;

  get isEmpty(): boolean {
    return this.#text === '';
  }

  /** As the devices counted them. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Who said the last of it. */
  get variantId(): VariantId | undefined {
    return this.#variantId;
  }

  add(variantId: VariantId, { text, tokens, ids, choices }: JobOut & { readonly kind: 'tokens' }): void {
    if (choices === undefined) this.#isTold = false;
    if (this.#variantId !== undefined && this.#variantId !== variantId) this.#ids = undefined;
    this.#variantId = variantId;
    this.#text += text;
    this.#tokens += tokens;
    if (this.#ids === undefined || ids === undefined) return;
    if (this.#ids.length + ids.length > MOST_TOKEN_IDS) this.#ids = undefined;
    else for (const id of ids) this.#ids.push(id);
  }

  /** Whether another device can go on with what was said to `prompt`: not where the client would miss what was not told with it. */
  canBeGoneOnWith(prompt: Prompt): boolean {
    return canBeTakenOver(prompt) && !this.isEmpty && (prompt.topLogProbs === undefined || this.#isTold);
  }

  /** For a device that goes on with `variantId`: token for token where it is the same model, else from the text. */
  begunFor(variantId: VariantId): BegunAnswer | undefined {
    if (this.isEmpty) return undefined;
    const isSame = this.#ids !== undefined && this.#ids.length > 0 && variantId === this.#variantId;
    return { text: this.#text, ...(isSame ? { ids: [...(this.#ids ?? [])] } : {}) };
  }
}

/** Whether another device can go on with an answer. Not where it keeps to a grammar: the rules' state does not go along. */
export function canBeTakenOver({ grammar, input }: Prompt): boolean {
  return (input.kind === 'chat' || input.kind === 'complete') && grammar === undefined;
}
