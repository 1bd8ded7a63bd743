import type { Candidate } from './candidates.js';
import type { Exploring } from './explore.js';
import type { Ranked, Selection } from './select.js';

/**
 * One sentence for a person: who was chosen, at what price, and who would have been next; before it why nothing was
 * predicted for the prompt, if so.
 */
export function whyChosen(
  { chosen, eligible, exploring, passedOver, ranked, prices }: Selection,
  attempt: number,
  abstained?: string,
): string {
  if (chosen === undefined) return 'nothing could be chosen';
  if (exploring !== undefined) return whyExplored(chosen, exploring);
  const weighed =
    prices.qualityPerJoule === 0 && prices.qualityPerSecond === 0
      ? 'highest predicted quality'
      : 'best quality for its energy and latency';
  const again = attempt > 1 ? `attempt ${attempt}: ` : '';
  const blind =
    abstained === undefined ? '' : `${capitalised(abstained)}: answered by the expert that is best in general. `;
  const next = ranked.filter(({ candidate }) => candidate.excluded === undefined)[1];
  const others =
    next === undefined
      ? 'the only candidate that may be asked'
      : `${weighed} of ${eligible} candidates, before ${name(next.candidate)} (${terms(next)})`;
  const doubtful =
    passedOver === undefined
      ? ''
      : ` ${name(passedOver.candidate)} (${terms(passedOver)}) is known to ±${(passedOver.candidate.doubt ?? 0).toFixed(2)} only.`;
  return `${blind}${again}${name(chosen.candidate)}: ${others}; predicted ${terms(chosen)}.${doubtful}`;
}

const capitalised = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;

function whyExplored(chosen: Ranked, { instead, spent, most }: Exploring): string {
  const { doubt = 0 } = chosen.candidate;
  const share = (part: number): string => `${(100 * part).toFixed(2)} %`;
  return (
    `${name(chosen.candidate)}: asked to learn how good it is (predicted ${terms(chosen)}, known to ±${doubt.toFixed(2)}) ` +
    `instead of ${name(instead.candidate)} (${terms(instead)}); ` +
    `exploring may have cost ${share(spent)} of the quality so far, at most ${share(most)}.`
  );
}

const name = ({ expertId, deviceId }: Candidate): string => `${expertId} on ${deviceId ?? 'no device'}`;

function terms({ candidate: { quality, cost, wait }, value }: Ranked): string {
  const parts = [`quality ${quality.toFixed(3)}`];
  if (cost !== undefined) {
    parts.push(`${cost.energy.toPrecision(2)} J`, `${Math.round(cost.latency + wait)} ms`);
  }
  if (value !== undefined && value !== quality) parts.push(`value ${value.toFixed(3)}`);
  return parts.join(', ');
}
