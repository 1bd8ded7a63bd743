import { boardId, deviceId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { applyToDevice } from './apply-event.js';
import { aDevice, aReported } from './device.fixture.js';
import type { Device, FleetEvent } from './device.js';

const settings = { lease: milliseconds(15_000) };
const id = deviceId('pi');

const presence = (
  state: 'online' | 'offline',
  epoch: number,
  at: number,
  reason?: 'will' | 'shutdown',
): FleetEvent => ({
  kind: 'presence',
  deviceId: id,
  presence: { v: 1, state, epoch, reason: reason ?? (state === 'online' ? 'connected' : 'will'), agentVersion: '1' },
  at: unixMs(at),
});
const observed = (epoch: number, at: number, powerW = 5): FleetEvent => ({
  kind: 'observed',
  deviceId: id,
  epoch,
  last: { powerW },
  sampledAt: unixMs(at),
  at: unixMs(at),
});
const reported = (epoch: number, at: number, observedGeneration = 0): FleetEvent => ({
  kind: 'reported',
  deviceId: id,
  reported: aReported({ epoch, observedGeneration }),
  at: unixMs(at),
});
const expired = (at: number): FleetEvent => ({ kind: 'lease-expired', deviceId: id, at: unixMs(at) });
const all = (device: Device | undefined, ...events: readonly FleetEvent[]): Device | undefined =>
  events.reduce<Device | undefined>((next, event) => applyToDevice(next, event, settings), device);

describe('applyToDevice', () => {
  it('makes a device at its enrolment, once', () => {
    const event: FleetEvent = { kind: 'enrolled', deviceId: id, board: boardId('b'), at: unixMs(1) };
    const device = applyToDevice(undefined, event, settings);
    expect(device).toMatchObject({ presence: 'never-seen', epoch: 0 });
    expect(applyToDevice(device, { ...event, board: boardId('other') }, settings)).toBe(device);
  });

  it('ignores the late will of an old session', () => {
    const device = all(aDevice(), presence('online', 2, 3000), presence('offline', 1, 3001));
    expect(device).toMatchObject({ presence: 'online', epoch: 2 });
  });

  it('takes the will of the present session, and no repeated greeting of it afterwards', () => {
    const device = all(aDevice(), presence('offline', 1, 3000));
    expect(device).toMatchObject({ presence: 'offline', leaseExpires: undefined });
    expect(all(device, presence('online', 1, 3001), observed(1, 3002))).toBe(device);
    expect(all(device, presence('online', 2, 3003))).toMatchObject({ presence: 'online', epoch: 2 });
  });

  it('counts the lease from the time of receipt', () => {
    expect(all(aDevice(), observed(1, 40_000))?.leaseExpires).toBe(55_000);
    expect(all(aDevice(), reported(1, 41_000))?.leaseExpires).toBe(56_000);
  });

  it('takes a silent device offline when its lease runs out, not before, and back at its next sign of life', () => {
    expect(all(aDevice(), expired(16_999))?.presence).toBe('online');
    const silent = all(aDevice(), expired(17_000));
    expect(silent?.presence).toBe('offline');
    expect(all(silent, observed(1, 20_000))?.presence).toBe('online');
    expect(all(silent, presence('online', 1, 20_000))?.presence).toBe('online');
  });

  it('lets a retained document revive nobody', () => {
    expect(all(aDevice(), expired(17_000), reported(1, 20_000))?.presence).toBe('offline');
  });

  it('greets a new session whose document came before its presence', () => {
    const gone = all(aDevice(), presence('offline', 1, 3000));
    const told = all(gone, reported(2, 4000));
    expect(told).toMatchObject({ presence: 'offline', epoch: 2 });
    expect(all(told, presence('online', 2, 4001))).toMatchObject({ presence: 'online', epoch: 2 });
    expect(all(told, observed(2, 4001))).toMatchObject({ presence: 'online', epoch: 2 });
    // Unless the broker says that it has ended, too.
    expect(all(told, presence('offline', 2, 4001), presence('online', 2, 4002))?.presence).toBe('offline');
  });

  it('drops a late copy of a reported document', () => {
    const device = all(aDevice(), reported(1, 3000, 5), reported(1, 3001, 4));
    expect(device?.reported?.observedGeneration).toBe(5);
  });

  it('keeps the newest sample when an older one comes late', () => {
    const late: FleetEvent = { ...observed(1, 5000, 9), at: unixMs(7000) };
    expect(all(aDevice(), observed(1, 6000, 7), late)?.last.powerW).toBe(7);
  });
});

describe('applyToDevice, whatever comes', () => {
  const at = fc.integer({ min: 1, max: 100_000 });
  const epoch = fc.integer({ min: 1, max: 5 });
  const anEvent: fc.Arbitrary<FleetEvent> = fc.oneof(
    fc.tuple(fc.constantFrom('online' as const, 'offline' as const), epoch, at).map(([s, e, t]) => presence(s, e, t)),
    fc.tuple(epoch, at, fc.integer({ min: 0, max: 9 })).map(([e, t, g]) => reported(e, t, g)),
    fc.tuple(epoch, at).map(([e, t]) => observed(e, t)),
    at.map(expired),
    fc.tuple(fc.integer({ min: 1, max: 9 }), at).map(([generation, t]): FleetEvent => ({
      kind: 'desired',
      deviceId: id,
      desired: {
        v: 1,
        generation,
        planId: null,
        state: 'active',
        variants: [],
        telemetry: { sampleMs: 100, batchMs: 100 },
      },
      at: unixMs(t),
    })),
  );
  const epochOf = (event: FleetEvent): number | undefined => {
    if (event.kind === 'presence') return event.presence.epoch;
    if (event.kind === 'reported') return event.reported.epoch;
    return event.kind === 'observed' ? event.epoch : undefined;
  };

  it('changes nothing by a repetition', () => {
    fc.assert(
      fc.property(fc.array(anEvent, { maxLength: 30 }), (events) => {
        for (let device = all(aDevice()), rest = events; rest.length > 0; rest = rest.slice(1)) {
          const once = all(device, ...rest.slice(0, 1));
          expect(all(once, ...rest.slice(0, 1))).toEqual(once);
          device = once;
        }
      }),
    );
  });

  it('never goes back to an older session or generation, and never touches a newer one by an older event', () => {
    fc.assert(
      fc.property(fc.array(anEvent, { maxLength: 40 }), (events) => {
        let device: Device | undefined = aDevice();
        for (const event of events) {
          const next = applyToDevice(device, event, settings);
          if (device === undefined || next === undefined) throw new Error('a device is lost only by its removal');
          expect(next.epoch).toBeGreaterThanOrEqual(device.epoch);
          expect(next.desired?.generation ?? 0).toBeGreaterThanOrEqual(device.desired?.generation ?? 0);
          if ((epochOf(event) ?? Infinity) < device.epoch) expect(next).toBe(device);
          device = next;
        }
      }),
    );
  });

  it('is online only with a lease', () => {
    fc.assert(
      fc.property(fc.array(anEvent, { maxLength: 40 }), (events) => {
        const device = all(aDevice(), ...events);
        if (device?.presence === 'online') expect(device.leaseExpires).toBeDefined();
      }),
    );
  });
});
