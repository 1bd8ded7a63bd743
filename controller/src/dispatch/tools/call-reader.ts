import { CALL_TAG, readCalls } from './read-calls.js';
import type { ToolCall, ToolOffer } from './tool.js';

/** After it a model that thinks aloud begins to answer. */
const THOUGHT_END = '</think>';
/** Names of the first member of a call, as models write it. */
const KEYS = ['"name"', '"arguments"', '"parameters"', '"function"', '"type"', '"id"'];
/** What looks like no call after so many characters is none. */
const MOST_UNDECIDED = 256;

/**
 * Tells words from calls while an answer comes.
 *
 * | state | means | left for |
 * |---|---|---|
 * | undecided | the beginning may still be either | call, words |
 * | words | what comes is told, except what may become a mark | call, at its tag; undecided, at the end of a thought |
 * | call | everything is held back until the answer has ended | |
 *
 * Holds back no more than the answer; what was held and is no call becomes words at the end.
 */
export class CallReader {
  readonly #offer: ToolOffer;
  #state: 'undecided' | 'words' | 'call';
  #held = '';

  constructor(offer: ToolOffer) {
    this.#offer = offer;
    this.#state = offer.choice === 'auto' ? 'undecided' : 'call';
  }

  /** More of the answer; gives what may be told now. */
  push(text: string): string {
    if (this.#state === 'call') {
      this.#held += text;
      return '';
    }
    let held = this.#held + text;
    let told = '';
    for (;;) {
      if (this.#state === 'undecided') this.#state = beginning(held);
      if (this.#state !== 'words') break;
      const { to, next } = wordsIn(held);
      told += held.slice(0, to);
      held = held.slice(to);
      this.#state = next;
      if (next === 'words') break;
    }
    this.#held = held;
    return told;
  }

  /** What the end of the answer makes of what was held back. */
  end(): { readonly text: string; readonly calls: readonly ToolCall[] } {
    const held = this.#held;
    this.#held = '';
    const calls = this.#state === 'call' ? readCalls(held, this.#offer) : [];
    return { text: calls.length === 0 ? held : '', calls };
  }
}

function beginning(text: string): 'undecided' | 'words' | 'call' {
  if (text.length > MOST_UNDECIDED) return isCall(text.slice(0, MOST_UNDECIDED)) === true ? 'call' : 'words';
  const found = isCall(text);
  return found === undefined ? 'undecided' : found ? 'call' : 'words';
}

/** Whether a text begins like a call; undefined while more of it is needed. */
function isCall(text: string): boolean | undefined {
  const start = text.trimStart();
  if (start.startsWith(CALL_TAG)) return true;
  if (CALL_TAG.startsWith(start) || '```'.startsWith(start)) return undefined;
  const opening = /^(?:```\w*\s*)?(\[?\s*\{?\s*)/.exec(start);
  const rest = start.slice(opening?.[0].length ?? 0);
  if (rest === '') return undefined;
  if (opening?.[1]?.includes('{') !== true) return false;
  if (KEYS.some((key) => rest.startsWith(key))) return true;
  return KEYS.some((key) => key.startsWith(rest)) ? undefined : false;
}

/** How much of a text is words before a mark, and what follows; as much as cannot be the beginning of one where there is none. */
function wordsIn(text: string): { readonly to: number; readonly next: 'words' | 'call' | 'undecided' } {
  const [tag, thought] = [text.indexOf(CALL_TAG), text.indexOf(THOUGHT_END)];
  if (thought >= 0 && (tag < 0 || thought < tag)) return { to: thought + THOUGHT_END.length, next: 'undecided' };
  if (tag >= 0) return { to: tag, next: 'call' };
  return { to: text.length - Math.max(openMark(text, CALL_TAG), openMark(text, THOUGHT_END)), next: 'words' };
}

/** Characters at the end of a text that a mark may begin with. */
function openMark(text: string, mark: string): number {
  for (let length = Math.min(mark.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(mark.slice(0, length))) return length;
  }
  return 0;
}
