/** Finds the short final answer in what an expert wrote, and writes it so that equal answers are equal texts. Pure. */

/** A text without a marked answer counts as one itself up to this length, characters. */
const LONGEST_SHORT_ANSWER = 80;
/** Of a long text the end is looked at: answers stand there. */
const LOOKED_AT = 4_000;

const CURRENCY = /^[$€£¥]\s?|\s?[€£¥%]$/g;
const NUMBER = /^[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?$/;
const OPTION = /^(?:option\s+|choice\s+)?(?:\(([a-j])\)|([a-j])[).:])(?:\s.*)?$/is;
const BARE_OPTION = /^(?:option|choice)\s+([a-j])$/i;
const VERDICT = /^(yes|no|true|false)(?:[,.;:!].*)?$/is;
/** Quoted texts, lists and the like, where case carries meaning. */
const LITERAL = /^["'[{(]/;

/**
 * The final answer of a text: what is boxed, what follows `####` or "the answer is", or the text itself when it is short.
 * Undefined where none can be told from the rest: such a text cannot be compared with another.
 */
export function finalAnswer(text: string): string | undefined {
  const end = text.slice(-LOOKED_AT).trim();
  if (end === '') return undefined;
  const marked =
    boxed(end) ??
    lastOf(end, /^#{4}\s*(.+)$/gm) ??
    lastOf(end, /"answer"\s*:\s*("(?:[^"\\]|\\.)*"|[^\s,}]+)/gi)?.replace(/^"(.*)"$/s, '$1') ??
    lastOf(end, /\banswer\b["*_]*\s*(?:is\b\s*:?|:|=)[\s*_]*(.+)/gi);
  const found = marked ?? (text.trim().length <= LONGEST_SHORT_ANSWER && !end.includes('\n') ? end : undefined);
  if (found === undefined || found.trim() === '' || found.length > 2 * LONGEST_SHORT_ANSWER) return undefined;
  return found.trim();
}

/**
 * One text for every way of writing the same short answer: numbers without separators, currency and trailing zeros,
 * options by their letter, yes and no without what follows, words in lower case; literals keep case but not white space.
 */
export function canonicalAnswer(answer: string): string {
  const plain = undressed(answer.normalize('NFKC'));
  const number = plain.replaceAll(CURRENCY, '').trim();
  if (/\d/.test(number) && NUMBER.test(number)) return canonicalNumber(number);
  const option = OPTION.exec(plain) ?? BARE_OPTION.exec(plain);
  if (option !== null) return (option[1] ?? option[2] ?? '').toLowerCase();
  const verdict = VERDICT.exec(plain)?.[1];
  if (verdict !== undefined) return verdict.toLowerCase();
  if (LITERAL.test(plain)) return plain.replaceAll(/\s+/g, '').replaceAll('"', "'");
  return plain.toLowerCase().replaceAll(/\s+/g, ' ');
}

/** What the short answer in a text is compared by; undefined where it holds none. */
export function answerKey(text: string): string | undefined {
  const answer = finalAnswer(text);
  return answer === undefined ? undefined : canonicalAnswer(answer);
}

/** Without emphasis, mathematics marks and a full stop at the end. */
function undressed(text: string): string {
  let plain = text.trim();
  for (;;) {
    const next = plain
      .replace(/^(\*\*|__|`+|\$\$?)([\s\S]*)\1$/, '$2')
      .replace(/^\\\(([\s\S]*)\\\)$|^\\text\{([^{}]*)\}$/, '$1$2')
      .replace(/(?<=[^.])[.,;]+$/, '')
      .trim();
    if (next === plain) return plain;
    plain = next;
  }
}

function canonicalNumber(text: string): string {
  const digits = text.replaceAll(',', '');
  // More digits than a double holds: equal texts only.
  if (digits.replaceAll(/\D/g, '').length > 15) return digits;
  const value = Number(digits);
  return String(value === 0 ? 0 : value);
}

/** What the last `\boxed{...}` holds, braces matched. */
function boxed(text: string): string | undefined {
  const start = text.lastIndexOf('\\boxed{');
  if (start < 0) return undefined;
  const from = start + '\\boxed{'.length;
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    if (text[at] === '{') depth++;
    if (text[at] === '}' && --depth === 0) return text.slice(from, at);
  }
  return undefined;
}

function lastOf(text: string, pattern: RegExp): string | undefined {
  return [...text.matchAll(pattern)].at(-1)?.[1];
}
