import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { deviceId, planId, variantId } from '@fleetgate/shared/ids';
import type { DesiredVariant, Residency } from '@fleetgate/shared/protocol/twin';

import { RangeDigests } from '../catalogue/disk-range-digests.js';
import type { Device } from '../fleet/device.js';
import { aDevice, aReported } from '../fleet/device.fixture.js';
import { peersWith } from './artefact-peers.js';

const SHA256 = 'a'.repeat(64);
const ADAPTER = 'b'.repeat(64);
const wanted: DesiredVariant = {
  ...{ variantId: variantId('math-q4'), purpose: 'serve', sha256: SHA256, sizeBytes: 10, contextTokens: 1, stop: [] },
  serving: { adapters: [{ sha256: ADAPTER, sizeBytes: 5, scale: 1 }] },
};

interface Holding {
  readonly residency?: Residency;
  readonly seeds?: boolean;
  readonly parts?: Partial<Device>;
}
function holder(name: string, { residency = 'stored', seeds = true, parts = {} }: Holding = {}): Device {
  const seed = { url: `http://127.0.0.1:7000/${name}`, token: name };
  return aDevice({
    id: deviceId(name),
    desired: {
      ...{ v: 1, generation: 1, planId: planId('p-1'), state: 'active', variants: [wanted] },
      telemetry: { sampleMs: 1000, batchMs: 1000 },
    },
    reported: aReported({ variants: [{ variantId: wanted.variantId, residency }], ...(seeds ? { seed } : {}) }),
    ...parts,
  });
}
const peersOf = (sha256: string, ...devices: Device[]): readonly string[] =>
  peersWith(sha256, new Map(devices.map((device) => [device.id, device]))).map((peer) => peer.deviceId);

describe('devices that have an artefact', () => {
  it('are those that have it whole, serve it and are there', () => {
    const devices = [
      holder('stored'),
      holder('resident', { residency: 'resident' }),
      holder('fetching', { residency: 'fetching' }),
      holder('silent', { seeds: false }),
      holder('offline', { parts: { presence: 'offline' } }),
      holder('restarted', { parts: { epoch: 2 } }),
    ];
    expect(peersOf(SHA256, ...devices)).toEqual(['resident', 'stored']);
    expect(peersOf(ADAPTER, ...devices)).toEqual(['resident', 'stored']);
    expect(peersOf('c'.repeat(64), ...devices)).toEqual([]);
  });

  it('are at most 16, those with the fewest jobs first', () => {
    const busy = holder('a-busy', { parts: { last: { runningJobs: 3 } } });
    const idle = Array.from({ length: 20 }, (_, i) => holder(`idle-${String(i).padStart(2, '0')}`));
    expect(peersOf(SHA256, busy, ...idle)).toEqual(idle.slice(0, 16).map(({ id }) => id));
    expect(peersOf(SHA256, busy, ...idle.slice(0, 2))).toEqual(['idle-00', 'idle-01', 'a-busy']);
  });
});

describe('digests of ranges', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetgate-ranges-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it.each([0, 1, 99_999, 100_000, 100_001, 250_000])('of %i bytes cover all of them', async (size) => {
    const content = randomBytes(size);
    const path = join(folder, 'file');
    await writeFile(path, content);
    const wantedDigests = Array.from({ length: Math.ceil(size / 100_000) }, (_, i) =>
      createHash('sha256')
        .update(content.subarray(i * 100_000, (i + 1) * 100_000))
        .digest('hex'),
    );
    const digests = new RangeDigests(100_000);
    expect(await digests.of(SHA256, path)).toEqual(wantedDigests);
    await rm(path);
    expect(await digests.of(SHA256, path)).toEqual(wantedDigests);
    await expect(digests.of(ADAPTER, path)).rejects.toThrow();
  });
});
