import type { ClassId, ExpertId } from '@fleetgate/shared/ids';

import type { ExpertScore, Gate, GateScore } from './gate.js';
import { type PilotCard, pilots } from './pilot-classes.js';

/** What an expert's card says of it. */
export interface ExpertProfile extends PilotCard {
  /** Bits per byte of reference answers by domain; may be empty. */
  readonly bitsPerByte: Readonly<Record<string, number>>;
}

/** A card's figure for the prompt's own class: measured elsewhere, on other prompts. */
const SAME_DOMAIN_SD = 0.12;
/** A card that names the domain without a figure, or has figures only for other domains. */
const GUESSED_SD = 0.25;
/** Typical quality of an expert inside and outside its domains, when no expert of the fleet shows what is typical. */
const TYPICAL_INSIDE = 0.4;
const TYPICAL_OUTSIDE = 0.2;
const UNKNOWN_OUTPUT_TOKENS = 128;

/**
 * Score of an expert that the gate was not trained on, from its card alone, for prompts of one class.
 *
 * Best evidence first: its bits per byte on the class's domain (quality = 2^-bits); the class named among its domains,
 * or one of `pilot` (as good as the fleet's middling experts there); the mean of its figures on other domains; nothing. The error bar is
 * wide, so that planning and dispatch know that this is a guess. `peers` are the scores of the experts that are known.
 */
export function scoreFromCard(
  profile: ExpertProfile,
  classId: ClassId,
  peers: ReadonlyMap<ExpertId, ExpertScore>,
  pilot: ReadonlySet<ClassId> = new Set(),
): ExpertScore {
  const outputTokens = mean([...peers.values()].map((peer) => peer.outputTokens)) ?? UNKNOWN_OUTPUT_TOKENS;
  const figures = Object.entries(profile.bitsPerByte).filter(([, bits]) => Number.isFinite(bits) && bits >= 0);
  const own = figures.find(([domain]) => sameName(domain, classId));
  if (own !== undefined) return guess(2 ** -own[1], SAME_DOMAIN_SD, outputTokens);
  const qualities = [...peers.values()].map((peer) => peer.quality).sort((a, b) => a - b);
  if (profile.domains.some((domain) => sameName(domain, classId)) || pilot.has(classId)) {
    return guess(quantile(qualities, 0.75) ?? TYPICAL_INSIDE, GUESSED_SD, outputTokens);
  }
  const elsewhere = figures.filter(([domain]) => !profile.domains.some((named) => sameName(named, domain)));
  const other = mean((elsewhere.length > 0 ? elsewhere : figures).map(([, bits]) => 2 ** -bits));
  if (other !== undefined) return guess(other, GUESSED_SD, outputTokens);
  // An expert without domains is a generalist: middling everywhere. One with other domains: like those outside theirs.
  const share = profile.domains.length === 0 ? 0.5 : 0.25;
  return guess(quantile(qualities, share) ?? TYPICAL_OUTSIDE, GUESSED_SD, outputTokens);
}

/** A card says nothing of single prompts: all of its error bar is doubt about the expert. */
function guess(quality: number, sd: number, outputTokens: number): ExpertScore {
  return { quality, sd, outputTokens, doubt: sd };
}

/**
 * The gate with every expert of `profiles()` that it was not trained on scored from its card, so that a new expert takes
 * part before the gate is trained again. Scores of trained experts are passed through unchanged.
 */
export function withUnknownExperts(gate: Gate, profiles: () => Iterable<ExpertProfile>): Gate {
  const pilotOf = pilots(gate);
  const trained = () => new Set(gate.experts);
  const unknown = (): ExpertProfile[] => {
    const known = trained();
    return [...profiles()].filter((profile) => !known.has(profile.id));
  };
  return {
    get experts() {
      return [...gate.experts, ...unknown().map((profile) => profile.id)];
    },
    get classes() {
      return gate.classes;
    },
    get trainedOn() {
      return gate.trainedOn;
    },
    score: (prompt): GateScore => {
      const score = gate.score(prompt);
      const fresh = unknown();
      if (fresh.length === 0) return score;
      const experts = new Map(score.experts);
      for (const profile of fresh)
        experts.set(profile.id, scoreFromCard(profile, score.classId, score.experts, pilotOf(profile)));
      return { ...score, experts };
    },
    classQuality: (classId, expert): ExpertScore | undefined => {
      const known = gate.classQuality(classId, expert);
      if (known !== undefined) return known;
      const profile = unknown().find((one) => one.id === expert);
      if (profile === undefined || !gate.classes.includes(classId)) return undefined;
      const peers = gate.experts.flatMap((peer): [ExpertId, ExpertScore][] => {
        const score = gate.classQuality(classId, peer);
        return score === undefined ? [] : [[peer, score]];
      });
      return scoreFromCard(profile, classId, new Map(peers), pilotOf(profile));
    },
    describe: (classId) => gate.describe?.(classId),
  };
}

function sameName(domain: string, classId: string): boolean {
  return domain.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-') === classId;
}

function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function quantile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
