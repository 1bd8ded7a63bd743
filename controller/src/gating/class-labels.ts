/** Names classes of prompts: by their task, and by the words that set them apart where a task has several. */
import { type ClassId, classId } from '@fleetgate/shared/ids';

/** Task of prompts whose file names none. */
export const NO_TASK = 'general';

/** Words that are read of a prompt. */
const READ_CHARS = 2_000;
const MOST_WORDS = 80;
const LABEL_WORDS = 2;
/** A word in fewer of a class's prompts than this share is no name for it. */
const LEAST_SHARE = 0.08;

/** The distinct words of a prompt's start, lower case, without numbers and short ones. */
export function wordsOf(prompt: string): readonly string[] {
  const words =
    prompt
      .slice(0, READ_CHARS)
      .toLowerCase()
      .match(/\p{L}{4,}/gu) ?? [];
  return [...new Set(words)].slice(0, MOST_WORDS);
}

export interface LabelledClass {
  readonly id: ClassId;
  readonly label: string;
}

/**
 * A label and an id for each class. One that is a whole task has the task's name; one of several has the words added that
 * are much more frequent in it than in the other classes of that task (relative entropy of the word's share).
 */
export function labelClasses(
  tasks: readonly string[],
  taskOf: Uint8Array,
  classOf: Uint8Array,
  words: readonly (readonly string[])[],
): readonly LabelledClass[] {
  const classes = [...taskOf.keys()];
  const counts = classes.map(() => new Map<string, number>());
  const sizes = new Float64Array(classes.length);
  words.forEach((own, row) => {
    const at = classOf[row] ?? 0;
    sizes[at] = (sizes[at] ?? 0) + 1;
    const into = counts[at];
    for (const word of own) into?.set(word, (into.get(word) ?? 0) + 1);
  });
  const labels = classes.map((at) => {
    const task = tasks[taskOf[at] ?? 0] ?? '';
    const others = classes.filter((other) => other !== at && taskOf[other] === taskOf[at]);
    if (others.length === 0) return task;
    const rest = others.reduce((sum, other) => sum + (sizes[other] ?? 0), 0);
    const telling = [...(counts[at] ?? [])]
      .map(([word, count]) => {
        const share = count / Math.max(1, sizes[at] ?? 0);
        const elsewhere = others.reduce((sum, other) => sum + (counts[other]?.get(word) ?? 0), 0);
        return { word, share, worth: share * Math.log(share / ((elsewhere + 1) / (rest + 1))) };
      })
      .filter(({ share, worth }) => share >= LEAST_SHARE && worth > 0)
      .sort((a, b) => b.worth - a.worth || (a.word < b.word ? -1 : 1))
      .slice(0, LABEL_WORDS);
    const names = telling.map(({ word }) => word);
    return [...(task === NO_TASK ? [] : [task]), ...(names.length > 0 ? names : [task])].join(' ');
  });
  return withIds(labels);
}

function withIds(labels: readonly string[]): LabelledClass[] {
  const used = new Set<string>();
  return labels.map((label) => {
    const slug =
      label
        .toLowerCase()
        .replace(/[^a-z0-9._-]+/g, '-')
        .replace(/^[^a-z0-9]+/, '')
        .slice(0, 56)
        .replace(/[^a-z0-9]+$/, '') || 'class';
    let name = slug;
    for (let next = 2; used.has(name); next++) name = `${slug}-${next}`;
    used.add(name);
    return { id: classId(name), label };
  });
}
