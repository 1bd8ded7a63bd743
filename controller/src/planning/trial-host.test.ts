import { deviceId, type ExpertId, expertId, variantId } from '@fleetgate/shared/ids';
import { describe, expect, it } from 'vitest';

import { aCatalogue, aDevice, anExpert, aPolicy } from '../dispatch/dispatch-fixtures.js';
import type { Device } from '../fleet/device.js';
import { type TrialHostFacts, trialHost, withTrialHost } from './trial-host.js';

const catalogue = aCatalogue([anExpert('math'), anExpert('new'), anExpert('other')]);
const [fresh, other] = [expertId('new'), expertId('other')];
const spare = (...experts: readonly ExpertId[]) => experts.map((expert) => ({ expert, mayDisplace: false }));
/** A device with memory for `copies` variants of the fixtures (4 MB each). */
const roomy = (name: string, placed: readonly string[], copies: number): Device => {
  const device = aDevice(name, placed);
  const { reported } = device;
  if (reported === undefined) throw new Error('a fixture device has reported');
  return { ...device, reported: { ...reported, memory: { budgetBytes: copies * 4_000_000, usedBytes: 0 } } };
};
const facts = (devices: readonly Device[], parts: Partial<TrialHostFacts> = {}): TrialHostFacts => ({
  placements: aPolicy(devices).placements,
  poweredOn: new Set(devices.map(({ id }) => id)),
  fleet: new Map(devices.map((device) => [device.id, device])),
  catalogue,
  spare: new Map(),
  worth: () => 1,
  maxVariants: null,
  ...parts,
});

describe('room for an expert on trial', () => {
  it('is on the device of most free memory', () => {
    const host = trialHost(spare(fresh), facts([roomy('a', ['math-q8_0'], 2), roomy('b', ['math-q8_0'], 3)]));
    expect(host).toEqual({ deviceId: 'b', variantId: 'new-q8_0' });
  });

  it('is given to one at a time, the first that the plan places nowhere', () => {
    const devices = [roomy('a', ['new-q8_0'], 4)];
    expect(trialHost(spare(fresh), facts(devices))).toBeUndefined();
    expect(trialHost(spare(fresh, other), facts(devices))?.variantId).toBe('other-q8_0');
  });

  it('is not where memory or slots are full, or the device is off, away or in standby', () => {
    const none = [
      facts([roomy('a', ['math-q8_0'], 1)]),
      facts([
        roomy(
          'a',
          ['m1', 'm2', 'm3', 'm4'].map((one) => variantId(one)),
          9,
        ),
      ]),
      facts([roomy('a', [], 9)], { poweredOn: new Set() }),
      facts([{ ...roomy('a', [], 9), presence: 'offline' }]),
      facts([roomy('a', ['math-q8_0'], 9)], { maxVariants: 1 }),
    ];
    for (const one of none) expect(trialHost(spare(fresh), one)).toBeUndefined();
  });

  it('is made, where there is none and the expert may, by the copy that is worth least', () => {
    const full = facts([roomy('a', ['math-q8_0', 'other-q8_0'], 2)], {
      worth: (_, variant) => (variant === variantId('math-q8_0') ? 0.02 : 0),
    });
    expect(trialHost(spare(fresh), full)).toBeUndefined();
    const host = trialHost([{ expert: fresh, mayDisplace: true }], full);
    expect(host).toEqual({ deviceId: 'a', variantId: 'new-q8_0', displaced: 'other-q8_0' });
    expect(withTrialHost(full.placements, host).get(deviceId('a'))).toEqual(new Set(['math-q8_0', 'new-q8_0']));
  });

  it('is what a copy takes that the plan can do without, also where none may make way', () => {
    const full = facts([roomy('a', ['math-q8_0', 'other-q8_0'], 2)], {
      spare: new Map([[deviceId('a'), new Set([variantId('math-q8_0')])]]),
    });
    const host = { deviceId: 'a', variantId: 'new-q8_0', displaced: 'math-q8_0' };
    expect(trialHost(spare(fresh), full)).toEqual(host);
    expect(trialHost(spare(fresh), { ...full, maxVariants: 2 })).toBeUndefined();
  });

  it('is not made on a device that the variant would not fit or has failed on', () => {
    const mayDisplace = [{ expert: fresh, mayDisplace: true }];
    expect(trialHost(mayDisplace, facts([roomy('a', ['math-q8_0'], 0.9)]))).toBeUndefined();
    const failed = aDevice('a', ['new-q8_0'], { residency: 'failed' });
    expect(trialHost(mayDisplace, { ...facts([failed]), placements: new Map() })).toBeUndefined();
  });

  it('is added to what the plan places, which stays as it is', () => {
    const placements = aPolicy([aDevice('a', ['math-q8_0'])]).placements;
    const both = withTrialHost(placements, { deviceId: deviceId('a'), variantId: variantId('new-q8_0') });
    expect(both.get(deviceId('a'))).toEqual(new Set(['math-q8_0', 'new-q8_0']));
    expect(placements.get(deviceId('a'))).toEqual(new Set(['math-q8_0']));
    expect(withTrialHost(placements, undefined)).toBe(placements);
  });
});
