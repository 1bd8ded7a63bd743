/** Evidence for tests: one expert on prompts of classes, as a source reports it. */
import { classId, expertId } from '@fleetgate/shared/ids';
import { SeededRandom } from '@fleetgate/shared/random';
import { unixMs } from '@fleetgate/shared/units/quantity';

import { type Evidence, evidenceId, type EvidenceSource } from './evidence.js';

export const GATE = 'gate-a';

export function anEvidence(parts: Partial<Evidence> & { readonly subject: string }): Evidence {
  const { source = 'reference', expert = expertId('law') } = parts;
  return {
    id: evidenceId(source, parts.subject, expert),
    at: unixMs(1000),
    source,
    expert,
    classId: classId('law'),
    value: 0.4,
    predicted: 0.3,
    sd: 0.08,
    gate: GATE,
    ...parts,
  };
}

/** `count` observations of an expert whose quality is `quality` with a spread of 0.05, from `from` on, one a millisecond. */
export function observations(
  count: number,
  quality: number,
  parts: Partial<Evidence> & { readonly from: number; readonly source?: EvidenceSource; readonly seed?: number },
): readonly Evidence[] {
  const { from, seed = 1, ...rest } = parts;
  const random = new SeededRandom(seed);
  return Array.from({ length: count }, (_, at) => {
    const spread = (random.uniform() + random.uniform() - 1) * 0.12;
    const value = Math.min(1, Math.max(0, quality + spread));
    return anEvidence({ subject: `s${seed}-${from}-${at}`, at: unixMs(from + at), value, ...rest });
  });
}
