/** Exploring and learning together: what becomes of a new expert's share of the traffic, and what that costs. */
import { classId, type ExpertId, expertId } from '@fleetgate/shared/ids';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { withCorrections } from '../gating/adapted-gate.js';
import { type Evidence, evidenceId, type EvidenceSource, outOfWindow } from '../gating/evidence.js';
import type { ExpertScore, Gate } from '../gating/gate.js';
import { type Adaptation, emptyAdaptation, learningCycle } from '../gating/learning-cycle.js';
import { scoreFromCard } from '../gating/unknown-expert.js';
import type { Candidate } from './candidates.js';
import { aCost } from './dispatch-fixtures.js';
import { EXPLORATION_SHARE } from './explore.js';
import { select } from './select.js';
import { Steering } from './steering.js';

const law = classId('law');
const [old, fresh] = [expertId('old'), expertId('new')];
const OLD_QUALITY = 0.4;

interface Simulated {
  /** Share of the last tenth of the requests that the new expert answered. */
  readonly share: number;
  /** True quality lost against always asking the old expert, as a share of what that would have given; below 0: gained. */
  readonly cost: number;
  readonly worstCost: number;
  /** Request from which on the new expert answered three of four. */
  readonly takenOverAt: number | undefined;
}

/** A fleet of one known expert and a new one whose card promises `promised`, over `rounds` requests of one class. */
function simulate(given: {
  readonly quality: number;
  readonly rounds: number;
  readonly source: EvidenceSource;
  readonly seed: number;
}): Simulated {
  const random = new SeededRandom(given.seed);
  const known: ExpertScore = { quality: OLD_QUALITY, sd: 0.08, outputTokens: 40 };
  // Its card names the domain and no figure.
  const guessed = scoreFromCard({ id: fresh, domains: ['law'], bitsPerByte: {} }, law, new Map([[old, known]]));
  const scores = new Map([
    [old, known],
    [fresh, guessed],
  ]);
  const trained: Gate = {
    experts: [old, fresh],
    classes: [law],
    trainedOn: 1,
    score: () => ({ classId: law, promptTokens: 9, experts: scores }),
    classQuality: (_, expert) => scores.get(expert),
  };
  let adaptation: Adaptation = emptyAdaptation('gate');
  const evidence: Evidence[] = [];
  const fits = () =>
    new Map(
      Object.values(adaptation.experts).flatMap(({ fit }) => (fit === undefined ? [] : [[fit.expert, fit] as const])),
    );
  const gate = withCorrections(
    trained,
    () => 'gate',
    () => ({ gate: 'gate', fits: fits(), revision: 0 }),
  );
  const onProbation = (): ReadonlySet<ExpertId> => new Set(fits().has(fresh) ? [] : [fresh]);
  const steering = new Steering({ random, onTrial: onProbation, onProbation, keep: () => {} });
  const truth = new Map([
    [old, OLD_QUALITY],
    [fresh, given.quality],
  ]);
  const asked: ExpertId[] = [];
  let [got, worstCost] = [0, 0];
  for (let round = 0; round < given.rounds; round++) {
    const candidates = [...gate.score('x').experts].map(([id, score]) => candidateOf(id, score, onProbation()));
    const { chosen } = steering.settle(select(candidates, { qualityPerJoule: 0, qualityPerSecond: 0 }), law);
    const expert = chosen?.candidate.expertId ?? old;
    asked.push(expert);
    const quality = (truth.get(expert) ?? 0) + 0.1 * (random.uniform() - 0.5);
    got += quality;
    worstCost = Math.max(worstCost, (OLD_QUALITY * (round + 1) - got) / (OLD_QUALITY * given.rounds));
    const value = given.source === 'feedback' ? Number(random.uniform() < 0.2 + quality) : quality;
    const subject = `r${round}`;
    const { quality: predicted, sd, doubt } = scores.get(expert) ?? known;
    const id = evidenceId(given.source, subject, expert);
    evidence.push({
      id,
      subject,
      at: unixMs(round + 1),
      source: given.source,
      expert,
      classId: law,
      value,
      predicted,
      sd,
      ...(doubt === undefined ? {} : { doubt }),
      gate: 'gate',
    });
    if (round % 32 === 31) {
      const { adaptation: next, dropped } = learningCycle(evidence, adaptation, 'gate', unixMs(round + 2));
      adaptation = next;
      for (const gone of dropped)
        evidence.splice(
          evidence.findIndex((one) => one.id === gone),
          1,
        );
    }
    const gone = outOfWindow(evidence, given.source);
    if (gone !== undefined) evidence.splice(evidence.indexOf(gone), 1);
  }
  const tail = asked.slice(-given.rounds / 10);
  const share = tail.filter((expert) => expert === fresh).length / tail.length;
  return { share, cost: 1 - got / (OLD_QUALITY * given.rounds), worstCost, takenOverAt: takeOver(asked) };
}

function takeOver(asked: readonly ExpertId[]): number | undefined {
  for (let at = 100; at <= asked.length; at += 20) {
    if (asked.slice(at - 100, at).filter((expert) => expert === fresh).length >= 75) return at;
  }
  return undefined;
}

function candidateOf(id: ExpertId, score: ExpertScore, onTrial: ReadonlySet<ExpertId>): Candidate {
  return {
    expertId: id,
    variantId: `${id}-q8_0` as Candidate['variantId'],
    deviceId: 'pi' as Candidate['deviceId'],
    quality: score.quality,
    qualitySd: score.sd,
    doubt: score.doubt,
    cost: aCost(1000, 5),
    wait: milliseconds(0),
    progress: undefined,
    excluded: onTrial.has(id) ? 'on-trial' : undefined,
  };
}

const SEEDS = [1, 2, 3];
/** Of the simulated qualities' mean, as a share: three standard errors. */
const NOISE = 0.004;

describe('a new expert that is better', () => {
  it.each(['reference', 'feedback'] as const)('takes its class over, seen by %s', (source) => {
    for (const seed of SEEDS) {
      const result = simulate({ quality: 0.6, rounds: 3000, source, seed });
      expect(result.takenOverAt).toBeLessThan(source === 'reference' ? 1000 : 2500);
      expect(result.share).toBeGreaterThan(0.9);
      expect(result.cost).toBeLessThan(0);
    }
  });
});

describe('a new expert that is worse', () => {
  it.each(['reference', 'feedback'] as const)('costs no more than the stated share, seen by %s', (source) => {
    for (const seed of SEEDS) {
      for (const quality of [0, 0.2, 0.3]) {
        const result = simulate({ quality, rounds: 1500, source, seed });
        expect(result.worstCost).toBeLessThan(EXPLORATION_SHARE + NOISE);
        expect(result.share).toBeLessThan(0.1);
      }
    }
  });
});
