import { describe, expect, it } from 'vitest';

import { NO_VALUES, withValue } from './mean-sequence.js';
import { deviceOf, rolloutOf, wave } from './rollout.fixture.js';
import { NO_EVIDENCE, withAttempt } from './rollout-evidence.js';
import type { RolloutRecord } from './rollout-record.js';
import { gateSchema } from './rollout-spec.js';
import { abortRollout, stepRollout } from './rollout-step.js';
import type { RolloutDevice } from './wave-devices.js';

const MANY = 1000;
const four = ['a', 'b', 'c', 'd'].map((name) => deviceOf(name));
const step = (record: RolloutRecord, devices: readonly RolloutDevice[], nowMs: number, movesLeft = MANY) =>
  stepRollout(record, { devices, nowMs, movesLeft });
const withThere = (record: RolloutRecord): readonly RolloutDevice[] =>
  four.map((device) => (record.devices.includes(device.id) ? { ...device, candidate: 'there' } : device));

describe('stepRollout', () => {
  it('gives it to one device, then to all, and adopts it', () => {
    let record = step(rolloutOf(), four, 0);
    expect(record.devices).toEqual(['a']);
    record = step(record, withThere(record), 1000);
    expect(record.soakBeganAtMs).toBe(1000);
    expect(step(record, withThere(record), 10_999)).toBe(record);
    record = step(record, withThere(record), 11_000);
    expect(record).toMatchObject({ wave: 1, state: 'running' });
    record = step(record, withThere(record), 12_000);
    expect(record.devices).toEqual(['a', 'b', 'c', 'd']);
    record = step(record, withThere(record), 13_000);
    record = step(record, withThere(record), 23_000);
    expect(record).toMatchObject({ state: 'adopted', endedAtMs: 23_000 });
    expect(record.devices).toHaveLength(4);
  });

  it('moves no more devices than the cap leaves, and the others later', () => {
    const all = rolloutOf({ waves: [wave({ percent: 100 })] });
    const first = step(all, four, 0, 3);
    expect(first.devices).toEqual(['a', 'b', 'c']);
    expect(step(first, withThere(first), 1000, 0).devices).toHaveLength(3);
    expect(step(first, withThere(first), 60_000, 3).devices).toHaveLength(4);
  });

  it('waits for the window, the charger and the network that a wave asks for', () => {
    const hour = 3_600_000;
    const asks = wave(
      { percent: 100 },
      { deadlineS: 200_000, window: { fromHour: 22, toHour: 4 }, while: { charging: true, network: 'wifi' } },
    );
    const record = rolloutOf({ waves: [asks] });
    const devices = [
      deviceOf('a', { charging: true, network: 'wifi' }),
      deviceOf('b', { charging: false, network: 'wifi' }),
      deviceOf('c', { charging: true, network: 'cellular' }),
      deviceOf('d', { charging: true, network: 'ethernet' }),
      deviceOf('e'),
      deviceOf('f', { isOnline: false }),
    ];
    expect(step(record, devices, 12 * hour)).toBe(record);
    expect(step(record, devices, 23 * hour).devices).toEqual(['a', 'd', 'e']);
    expect(step(record, devices, 25 * hour).devices).toEqual(['a', 'd', 'e']);
  });

  it.each<readonly [string, Partial<RolloutDevice>, RegExp]>([
    ['a device that cannot take it', { candidate: 'failed' }, /a could not take it/],
    ['a device that runs hot', { candidate: 'there', temperatureC: 95 }, /a is at 95 °C, over 90 °C/],
  ])('rolls back at once for %s', (_, state, reason) => {
    const record = step(rolloutOf(), four, 0);
    const devices = four.map((device) => (device.id === 'a' ? { ...device, ...state } : device));
    const back = step(record, devices, 2000);
    expect(back).toMatchObject({ state: 'rolled-back', devices: [] });
    expect(back.reason).toMatch(reason);
  });

  it('rolls back as soon as one metric is worse for certain', () => {
    let evidence = NO_EVIDENCE;
    for (let i = 0; i < 120; i++) {
      const fact = { deviceId: four[0]?.id, variantId: 'math-q4' } as Parameters<typeof withAttempt>[2];
      evidence = withAttempt(evidence, 'candidate', i % 2 === 0 ? { ...fact, failed: 'engine.crashed' } : fact);
      evidence = withAttempt(evidence, 'incumbent', fact);
    }
    const record = rolloutOf({ devices: [deviceOf('a').id], evidence });
    const back = step(record, withThere(record), 1000);
    expect(back.state).toBe('rolled-back');
    expect(back.reason).toMatch(/^errors: at least/);
  });

  it('rolls back a canary that never reports, and one that shows too little', () => {
    const record = step(rolloutOf(), four, 0);
    expect(step(record, four, 999_000).state).toBe('running');
    const silent = step(record, four, 1_000_000);
    expect(silent).toMatchObject({ state: 'rolled-back' });
    expect(silent.reason).toMatch(/wave 1 was not done within 1000 s: a did not report it/);
    const asksQuality = rolloutOf({ gate: gateSchema.parse({}), devices: [deviceOf('a').id], soakBeganAtMs: 0 });
    const little = step(asksQuality, withThere(asksQuality), 1_000_000);
    expect(little.reason).toMatch(/it was not shown that no more than 0.02 of quality is lost, after 0 probe prompts/);
  });

  it('goes on once the quality was shown', () => {
    let quality = NO_VALUES;
    for (let i = 0; i < 60; i++) quality = withValue(quality, i % 2 === 0 ? 0.01 : -0.01);
    const record = rolloutOf({
      gate: gateSchema.parse({}),
      devices: [deviceOf('a').id],
      soakBeganAtMs: 0,
      evidence: { ...NO_EVIDENCE, quality },
    });
    expect(step(record, withThere(record), 10_000)).toMatchObject({ state: 'running', wave: 1 });
  });

  it('leaves a paused and an ended one alone, and gives all back what was aborted', () => {
    const paused = rolloutOf({ state: 'paused', devices: [deviceOf('a').id] });
    expect(step(paused, four, 1e9)).toBe(paused);
    const aborted = abortRollout(paused, 'no need', 5);
    expect(aborted).toMatchObject({ state: 'aborted', devices: [], reason: 'no need', endedAtMs: 5 });
    expect(step(aborted, four, 1e9)).toBe(aborted);
  });
});
