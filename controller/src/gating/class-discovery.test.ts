import { readFileSync } from 'node:fs';

import { unixMs } from '@fleetgate/shared/units/quantity';
import { beforeAll, describe, expect, it } from 'vitest';

import { ClassTracker } from './class-tracker.js';
import { readOutcomes } from './disk-outcomes.js';
import { OTHER_CLASS } from './gate.js';
import { gateOf } from './linear-gate.js';
import { LiveGate } from './live-gate.js';
import type { Outcome } from './outcomes.js';
import { trainGate } from './train-gate.js';
import { startState } from './tracker-state.js';

const EXPERTS = new URL('../../../experts/', import.meta.url);
const DOMAINS = ['math', 'code', 'medical', 'finance', 'story', 'dialogue'];
const ROUNDS = 90;
/** Prompts of the last rounds are counted: by then a new class has been found. */
const COUNTED = 30;

const prompts = (domain: string): string[] =>
  readFileSync(new URL(`data/${domain}.valid.jsonl`, EXPERTS), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { prompt: string }).prompt);

/** Which class each prompt of every domain is put into, by a gate that was trained without one of the domains. */
function follow(outcomes: readonly Outcome[], missing: string) {
  const gate = new LiveGate();
  gate.replace(gateOf(trainGate(outcomes.filter(({ task }) => task !== missing))));
  const state = startState(gate, unixMs(0));
  if (state === undefined) throw new Error('the gate has centroids');
  const tracker = new ClassTracker(state);
  const texts = new Map(DOMAINS.map((domain) => [domain, prompts(domain)] as const));
  const log: { readonly domain: string; readonly classId: string }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const domain of DOMAINS) {
      const own = texts.get(domain) ?? [];
      const score = gate.score(own[round % own.length] ?? '');
      const at = unixMs(30_000 * (log.length + 1));
      const classId = tracker.classOf(score);
      tracker.observe({ ...score, classId }, at);
      tracker.review(at);
      log.push({ domain, classId });
    }
  }
  const late = log.slice(-COUNTED * DOMAINS.length);
  const share = (domains: readonly string[]): number => {
    const own = late.filter(({ domain }) => domains.includes(domain));
    return own.filter(({ classId }) => classId.startsWith('new-')).length / own.length;
  };
  return { tracker, missing: share([missing]), others: share(DOMAINS.filter((domain) => domain !== missing)) };
}

describe('prompts of a domain that the gate was not trained on', () => {
  let outcomes: Outcome[] = [];
  beforeAll(async () => {
    const path = new URL('outcomes/bundled.jsonl.gz', EXPERTS).pathname;
    outcomes = [];
    for await (const outcome of readOutcomes(path)) outcomes.push(outcome);
  });

  it.each(['math', 'code', 'story'])('make a class of their own: %s', (missing) => {
    const { tracker, missing: own, others } = follow(outcomes, missing);
    expect(tracker.found).toHaveLength(1);
    expect(own).toBeGreaterThan(0.7);
    expect(others).toBeLessThan(0.03);
  });

  it('leave the other classes alone, where there are none', () => {
    const { tracker, others } = follow(outcomes, 'none');
    expect(tracker.found).toEqual([]);
    expect(others).toBe(0);
    expect(tracker.state.classes.map(({ id }) => id)).not.toContain(OTHER_CLASS);
  });
});
