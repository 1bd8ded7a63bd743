import { deviceId } from '@fleetgate/shared/ids';
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import { describe, expect, it } from 'vitest';

import { healthVerdicts } from './health-verdict.js';
import { NEW, OLD, rolloutOf } from './rollout.fixture.js';
import { NO_EVIDENCE, nextProbe, sideOf, withAttempt, withProbe } from './rollout-evidence.js';
import { gateSchema } from './rollout-spec.js';

const a = deviceId('a');
const usage = (tokensPerS: number, joulesPerToken: number): JobUsage => ({
  promptTokens: 10,
  outputTokens: 20,
  energyJ: 20 * joulesPerToken,
  energySource: 'measured',
  queueMs: 0,
  prefillMs: 5,
  decodeMs: 20_000 / tokensPerS,
});

describe('evidence of a rollout', () => {
  it('counts a job for the variant that did it, of a board or an agent for the device', () => {
    const record = rolloutOf({ devices: [a] });
    expect(sideOf(record, { deviceId: a, variantId: NEW })).toBe('candidate');
    expect(sideOf(record, { deviceId: a, variantId: OLD })).toBe('incumbent');
    const agent = rolloutOf({ subject: { kind: 'agent', name: 'agent', sequence: 2 }, devices: [a] });
    expect(sideOf(agent, { deviceId: a, variantId: OLD })).toBe('candidate');
    expect(sideOf(agent, { deviceId: deviceId('b'), variantId: OLD })).toBe('incumbent');
  });

  it('does not count failures that are no device’s, nor the speed of answers of a token or two', () => {
    const fact = { deviceId: a, variantId: NEW };
    expect(withAttempt(NO_EVIDENCE, 'candidate', { ...fact, failed: 'job.cancelled' })).toBe(NO_EVIDENCE);
    const short = withAttempt(NO_EVIDENCE, 'candidate', { ...fact, usage: { ...usage(10, 1), outputTokens: 2 } });
    expect(short.errors.candidate.n).toBe(1);
    expect(short.tokensPerS.candidate.n).toBe(0);
  });

  it('finds out half the speed and twice the energy, and says nothing of noise', () => {
    let evidence = NO_EVIDENCE;
    for (let i = 0; i < 80; i++) {
      const noise = 1 + 0.1 * Math.sin(i);
      const fact = { deviceId: a, variantId: NEW };
      evidence = withAttempt(evidence, 'candidate', { ...fact, usage: usage(5 * noise, 2 * noise) });
      evidence = withAttempt(evidence, 'incumbent', { ...fact, usage: usage(10 / noise, 1 / noise) });
    }
    const of = (metric: string) =>
      healthVerdicts(evidence, gateSchema.parse({})).find((verdict) => verdict.metric === metric)?.verdict;
    expect(of('tokensPerS')).toBe('worse');
    expect(of('joulesPerToken')).toBe('worse');
    expect(of('errors')).toBe('undecided');
    expect(of('quality')).toBe('undecided');
  });

  it('pairs probes, those first that the other side has', () => {
    const probes = [{ id: 'p1' }, { id: 'p2' }, { id: 'p3' }];
    let evidence = withProbe(NO_EVIDENCE, 'incumbent', 'p2', 0.5);
    expect(evidence.quality.n).toBe(0);
    expect(nextProbe(evidence, 'candidate', probes)?.id).toBe('p2');
    expect(nextProbe(evidence, 'incumbent', probes)?.id).toBe('p1');
    evidence = withProbe(evidence, 'candidate', 'p2', 0.4);
    expect(evidence.quality).toMatchObject({ n: 1, mean: expect.closeTo(-0.1) });
    expect(withProbe(evidence, 'candidate', 'p2', 0.9)).toBe(evidence);
  });
});
