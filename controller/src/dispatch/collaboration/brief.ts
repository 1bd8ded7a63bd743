/**
 * Brief: a domain expert writes background, a larger model answers with it (BLADE: Li et al. 2024; CooK: Feng et al.
 * 2023, whose selectors are relevance and brevity).
 *
 * What the domain expert wrote is kept sentence by sentence: only what shares its words with the question, in the order
 * it was written, up to a length. A background that is left empty is not used.
 */

/** Share of a sentence's content words that the question has to know of, weighted by length of the word. */
const LEAST_RELEVANCE = 0.15;
/** Characters of background that the larger model is given at most. */
export const MOST_CHARACTERS = 600;

export interface Background {
  readonly text: string;
  readonly keptSentences: number;
  readonly droppedSentences: number;
}

/** What of `answer` is worth giving along with `question`, at most `mostCharacters` of it. */
export function backgroundFrom(question: string, answer: string, mostCharacters = MOST_CHARACTERS): Background {
  const asked = contentWords(question);
  const sentences = sentencesOf(answer);
  const kept: string[] = [];
  const seen = new Set<string>();
  let length = 0;
  for (const sentence of sentences) {
    const normal = sentence.toLowerCase();
    if (seen.has(normal) || relevance(contentWords(sentence), asked) < LEAST_RELEVANCE) continue;
    if (length + sentence.length + 1 > mostCharacters) continue;
    seen.add(normal);
    kept.push(sentence);
    length += sentence.length + 1;
  }
  return { text: kept.join(' '), keptSentences: kept.length, droppedSentences: sentences.length - kept.length };
}

/** The question with its background, as the larger model is asked it. */
export function briefed(question: string, background: string): string {
  return `Background: ${background}\n\n${question}`;
}

/** 0..1: how much of what a sentence talks of is in the question; a rare long word says more than a short one. */
function relevance(sentence: ReadonlySet<string>, question: ReadonlySet<string>): number {
  let [shared, total] = [0, 0];
  for (const word of sentence) {
    total += word.length;
    if (question.has(word)) shared += word.length;
  }
  return total === 0 ? 0 : shared / total;
}

/** Words of four letters or more, without their commonest endings, and numbers. */
function contentWords(text: string): ReadonlySet<string> {
  const words = text.toLowerCase().match(/\p{L}{4,}|\p{N}+/gu) ?? [];
  return new Set(words.map((word) => word.replace(/(?:ing|es|ed|s)$/u, '')));
}

function sentencesOf(text: string): readonly string[] {
  return text
    .split(/(?<=[.!?])\s+|\n+/u)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== '');
}
