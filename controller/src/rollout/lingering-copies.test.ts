import { ManualClock } from '@fleetgate/shared/clock';
import { deviceId, planId, variantId } from '@fleetgate/shared/ids';
import type { Residency } from '@fleetgate/shared/protocol/twin';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { Subject } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { aRegisteredExpert } from '../catalogue/expert.fixture.js';
import { ExpertRegistry } from '../catalogue/expert-registry.js';
import { aDevice, aReported } from '../fleet/device.fixture.js';
import type { Device, FleetChange } from '../fleet/device.js';
import { nextDesired, type PlannedResidency } from './desired.js';
import { LingeringCopies, LONGEST_LINGERING, withLingering } from './lingering-copies.js';

const settings = { telemetry: { sampleMs: 1000, batchMs: 5000 } };
const [a, b, math] = [deviceId('a'), deviceId('b'), variantId('math-q8_0')];
const catalogue = new ExpertRegistry();
catalogue.add(aRegisteredExpert('math'));
const planOf = (id: string, device: typeof a): PlannedResidency => ({
  planId: planId(id),
  placements: new Map([[device, new Set([math])]]),
  poweredOn: new Set([device]),
});

let clock: ManualClock;
let changes: Subject<FleetChange>;
let view: Map<typeof a, Device>;
let plan: PlannedResidency | undefined;
let copies: LingeringCopies;
let active: () => PlannedResidency | undefined;
let told: number;

const record = (after: Device): void => {
  const before = view.get(after.id);
  view.set(after.id, after);
  const event = { kind: 'lease-expired', deviceId: after.id, at: clock.now() } as const;
  changes.next({ event, before, after });
};
/** The device takes up its next document, as far as there is one. */
const tell = (id: typeof a): Device['desired'] => {
  const device = view.get(id) ?? aDevice({ id });
  const desired = nextDesired(device, active(), [], catalogue, settings);
  if (desired !== undefined) record({ ...device, desired });
  return view.get(id)?.desired;
};
const says = (id: typeof a, residency: Residency): void => {
  const variants = [{ variantId: math, residency }];
  record({ ...(view.get(id) ?? aDevice({ id })), reported: aReported({ variants }) });
};

beforeEach(() => {
  clock = new ManualClock();
  changes = new Subject();
  view = new Map();
  plan = planOf('p1', a);
  copies = new LingeringCopies({ fleet: { view, changes$: changes }, catalogue, plan: () => plan, clock });
  active = withLingering(() => plan, copies);
  told = 0;
  copies.changes$.subscribe(() => {
    told += 1;
  });
  for (const id of [a, b]) says(id, 'absent');
  tell(a);
  says(a, 'resident');
  plan = planOf('p2', b);
});
afterEach(() => copies.close());

describe('a plan that moves a variant', () => {
  it('keeps the old copy in its document, and its device on, until the new one is there', () => {
    expect(tell(a)).toMatchObject({ planId: 'p2', state: 'active', variants: [{ variantId: math, purpose: 'serve' }] });
    expect(tell(b)).toMatchObject({ state: 'active', variants: [{ variantId: math }] });
    expect(active()?.placements.get(a)?.has(math)).toBe(true);
    says(b, 'resident');
    expect(tell(a)).toMatchObject({ state: 'standby', variants: [] });
    expect(active()?.placements.get(a)).toBeUndefined();
    expect(active()?.placements).toBe(plan?.placements);
  });

  it('gives the same object until the plan changes or something else lingers', () => {
    const before = active();
    tell(a);
    says(b, 'fetching');
    says(b, 'loading');
    expect(active()).toBe(before);
    plan = planOf('p3', b);
    expect(active()).not.toBe(before);
    const third = active();
    says(b, 'resident');
    expect(active()).not.toBe(third);
  });

  it('lets the old copy go after its time, whatever other plans say meanwhile, and tells of it', () => {
    tell(a);
    clock.advance(LONGEST_LINGERING - 1);
    plan = planOf('p3', b);
    expect(active()?.lingering?.get(a)?.has(math)).toBe(true);
    tell(a);
    clock.advance(1);
    expect(told).toBe(1);
    expect(tell(a)).toMatchObject({ state: 'standby', variants: [] });
    clock.advance(milliseconds(10 * LONGEST_LINGERING));
    expect(active()?.lingering?.size).toBe(0);
  });

  it('gives a copy that was placed again meanwhile its whole time', () => {
    tell(a);
    clock.advance(LONGEST_LINGERING - 1);
    plan = planOf('p3', a);
    tell(a);
    plan = planOf('p4', b);
    tell(a);
    clock.advance(LONGEST_LINGERING - 1);
    expect(active()?.lingering?.size).toBe(1);
  });
});
