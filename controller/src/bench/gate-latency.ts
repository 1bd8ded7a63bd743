/** How long the gate takes to decide, beside what nothing can beat: reading the prompt. */
import { FeatureExtractor } from '../gating/features.js';
import { decodeGateModel, encodeGateModel } from '../gating/gate-model.js';
import { gateOf } from '../gating/linear-gate.js';
import type { Outcome } from '../gating/outcomes.js';
import { trainGate } from '../gating/train-gate.js';

import { type BenchReport, figure } from './bench-report.js';
import { distributionOf, spread } from './distribution.js';

const EXPERTS = 40;
/** A prompt of 500 tokens. */
const PROMPT_CHARS = 2_000;
const PROMPTS = 200;
const WARM_UP = 2_000;
const DECISIONS = 20_000;

/**
 * Trains a gate on outcomes whose experts are listed over and over until there are 40, without tasks, so that classes are
 * found; then times features, gate and choice for prompts of 2,000 characters put together from the outcomes' own. Takes
 * about ten seconds.
 */
export function gateLatency(outcomes: readonly Outcome[], promptCharacters = PROMPT_CHARS): BenchReport {
  const trained = trainGate(outcomes.map(manyExperts));
  const text = encodeGateModel(trained);
  const reading = timesOf(20, 10, () => decodeGateModel(text, 'the gate file')).cpu;
  const gate = gateOf(decodeGateModel(text, 'the gate file'));
  const prompts = longPrompts(outcomes, promptCharacters);
  const extractor = new FeatureExtractor();
  const decide = (at: number) => bestOf(gate.score(prompts[at % prompts.length] ?? ''));
  const read = (at: number) => extractor.extract(prompts[at % prompts.length] ?? '').gramCount;
  const ours = timesOf(WARM_UP + DECISIONS, WARM_UP, decide);
  const floor = timesOf(WARM_UP + DECISIONS, WARM_UP, read);
  const other = (value: number) => ({ name: 'reading the prompt alone', value });
  return {
    name: 'gate latency',
    figures: [
      figure('decision, CPU time, p50', 'us', 1000 * ours.cpu.p50, other(1000 * floor.cpu.p50)),
      figure('decision, CPU time, p99', 'us', 1000 * ours.cpu.p99, other(1000 * floor.cpu.p99)),
      figure('decision, on the wall, p50', 'us', 1000 * ours.wall.p50, other(1000 * floor.wall.p50)),
      figure('decision, on the wall, p99', 'us', 1000 * ours.wall.p99, other(1000 * floor.wall.p99)),
      figure('reading the gate file, CPU time, p50', 'ms', reading.p50),
      figure('size of the gate file', 'MB', text.length / 1e6),
    ],
    tables: [],
    notes: [
      `${gate.experts.length} experts, ${trained.classes.length} classes, ${trained.grams.length} grams; ${DECISIONS} decisions on ${prompts.length} prompts of ${promptCharacters} characters`,
      'a decision is features, gate and the choice of the best quality for its cost, on one thread; CPU time is that of the whole process, so collection of garbage counts and other programs do not',
    ],
  };
}

function manyExperts({ id, prompt, y }: Outcome): Outcome {
  const qualities = Object.values(y);
  const many = Array.from({ length: EXPERTS }, (_, at) => [`expert-${at}`, qualities[at % qualities.length] ?? 0]);
  return { id, prompt, y: Object.fromEntries(many) as Record<string, number> };
}

function longPrompts(outcomes: readonly Outcome[], characters: number): readonly string[] {
  const all = outcomes.map(({ prompt }) => prompt);
  return spread([...all.keys()], PROMPTS).map((start) => {
    let text = '';
    for (let at = start; text.length < characters; at = (at + 1) % all.length) text += `${all[at]}\n`;
    return text.slice(0, characters);
  });
}

/** What an answer costs here does not matter; that it is weighed does. */
function bestOf({ experts, promptTokens }: ReturnType<ReturnType<typeof gateOf>['score']>): number {
  let best = -Infinity;
  for (const { quality, outputTokens } of experts.values()) {
    best = Math.max(best, quality - 1e-6 * (promptTokens + outputTokens));
  }
  return best;
}

/** Milliseconds of each run after the first `skipped`. */
function timesOf(runs: number, skipped: number, run: (at: number) => unknown) {
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let at = 0; at < runs; at++) {
    const [start, used] = [performance.now(), process.cpuUsage()];
    run(at);
    const [{ user, system }, end] = [process.cpuUsage(used), performance.now()];
    if (at < skipped) continue;
    wall.push(end - start);
    cpu.push((user + system) / 1000);
  }
  return { wall: distributionOf(wall), cpu: distributionOf(cpu) };
}
