import { FleetError } from '@fleetgate/shared/errors';

import { PromptRouting } from '../slabs/prompt-routing.js';
import { LEAST_SIMILARITY, MOST_PROBED, nearestPattern, type ServedTask, servedTasks } from '../slabs/task-patterns.js';
import { type KeepOptions, profileOf } from './slab-profile.js';
import type { SlabDocument, SlabSession } from './slab-session.js';
import type { SlabText } from './slab-texts.js';

export interface NearestEvaluation {
  readonly bitsPerByte: number;
  readonly tokens: number;
  readonly bytes: number;
  readonly keep: number;
  /** Documents by the task that they were taken to be of; `none`: computed with all slabs. */
  readonly taken: Readonly<Record<string, number>>;
}

/** Evaluates each text as `serving.taskMask` answers it. Throws `usage.invalid` for options that it does not have. */
export async function evaluateNearest(
  session: SlabSession,
  texts: readonly SlabText[],
  { profile: file, keep, score, protect, docs }: KeepOptions & { readonly docs?: number },
): Promise<NearestEvaluation> {
  if (file === undefined || keep === undefined || score !== 'tcess' || protect !== undefined) {
    throw new FleetError(
      'usage.invalid',
      '--task nearest needs --profile and --keep, and has no --score and --protect',
    );
  }
  const { tasks } = servedTasks(await profileOf(session, file), session.layout, { taskMask: { keep } });
  const total = { bits: 0, tokens: 0, bytes: 0 };
  const taken: Record<string, number> = {};
  let left = docs ?? Infinity;
  for (const text of texts) {
    for (const document of session.documents([text], left)) {
      left--;
      const task = nearestTask(session, promptOf(session, text, document), tasks);
      const name = task?.task ?? 'none';
      taken[name] = (taken[name] ?? 0) + 1;
      session.keep = task?.keep;
      const { bits, tokens, bytes } = session.evaluate(document);
      session.keep = undefined;
      total.bits += bits;
      total.tokens += tokens;
      total.bytes += bytes;
    }
  }
  return { bitsPerByte: total.bits / total.bytes, tokens: total.tokens, bytes: total.bytes, keep, taken };
}

export function nearestText(file: string, { bitsPerByte, tokens, keep, taken }: NearestEvaluation): string {
  const counts = Object.entries(taken).map(([task, count]) => `${task} ${count}`);
  return (
    `${file}: ${bitsPerByte.toFixed(4)} bits per byte (${tokens} tokens), ${keep} slabs of the task that each prompt is ` +
    `like\n  taken to be of: ${counts.join(', ')}\n`
  );
}

/** What is read before the answer: the prompt, of plain text its beginning. */
function promptOf(session: SlabSession, text: SlabText, document: SlabDocument): SlabDocument {
  const [alone = document] = 'prompt' in text ? session.documents([{ ...text, completion: '' }]) : [];
  const common = alone.findIndex((token, i) => token !== document[i]);
  return 'prompt' in text
    ? document.slice(0, common < 0 ? alone.length : Math.max(1, common))
    : document.slice(0, MOST_PROBED);
}

function nearestTask(session: SlabSession, prompt: SlabDocument, tasks: readonly ServedTask[]): ServedTask | undefined {
  const { layers, slabsPerLayer, slabsPerToken } = session.layout;
  const read = prompt.slice(-MOST_PROBED);
  const routing = new PromptRouting({ layers: layers.length, slabsPerLayer, slabsPerToken }, read.length);
  // The last token is not evaluated.
  session.evaluate([...read, 0], (routed, start) => routing.routed(routed, start));
  return nearestPattern(routing.importance, tasks, LEAST_SIMILARITY)?.pattern;
}
