import { createHash, generateKeyPairSync } from 'node:crypto';
import { rmSync } from 'node:fs';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Board } from '@fleetgate/firmware-configs/apply-config';
import { DiskBoard } from '@fleetgate/firmware-configs/disk-board';
import type { OwnSettings } from '@fleetgate/firmware-configs/plan-changes';
import { checkRelease, type SignedRelease, signRelease } from '@fleetgate/shared/catalogue/release';
import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { boardIdSchema } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';

import { anOrinNano, type BoardTree } from '../../../firmware-configs/src/board-tree.fixture.ts';
import { BoardSettings, type KeptConfig } from './board-settings.js';

const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const ORIN = boardIdSchema.parse('jetson-orin-nano');

function textOf(name: string, settings: string): string {
  return `schema: fleetgate-board-config/1\nname: ${name}\nboards: [jetson-orin-nano]\ndescription: d\nsources: [s]\n${settings}`;
}

function released(text: string, sequence = 1, key = privateKey): SignedRelease {
  const sha256 = createHash('sha256').update(text).digest('hex');
  const manifest = {
    kind: 'board-config',
    name: 'jetson-orin-nano',
    sequence,
    version: '1',
    sha256,
    sizeBytes: text.length,
  } as const;
  return signRelease({ ...manifest, createdAtMs: 0 }, key);
}

/** The device around the settings: what is kept over restarts, what the controller has, and the board. */
class Device {
  readonly tree: BoardTree = anOrinNano();
  readonly clock = new ManualClock();
  readonly texts = new Map<string, string>();
  board: Board = new DiskBoard({ root: this.tree.root });
  kept: KeptConfig | undefined;
  own: OwnSettings = { files: {} };
  accepted: number | undefined;
  settings = this.boot();

  boot(): BoardSettings {
    this.settings = new BoardSettings({
      boardId: ORIN,
      board: { read: () => this.board.read(), change: (step) => this.board.change(step) },
      check: (release, number) => checkRelease(release, [publicKey], number === 'any' ? undefined : this.accepted),
      accept: ({ sequence }) => (this.accepted = Math.max(sequence, this.accepted ?? 0)),
      fetch: async ({ sha256 }) => {
        const text = this.texts.get(sha256);
        if (text === undefined) throw new FleetError('artefact.unavailable', 'not yet', { retryable: true });
        return text;
      },
      kept: this.kept,
      keep: (kept) => (this.kept = kept),
      own: () => this.own,
      remember: (own) => (this.own = own),
      clock: this.clock,
      log: silentLogger,
    });
    return this.settings;
  }

  /** Releases `text` to the device, at a controller that has it. */
  give(text: string, sequence?: number, key = privateKey): void {
    const release = released(text, sequence, key);
    this.texts.set(release.manifest.sha256, text);
    this.settings.takeUp(release);
  }

  /** `name sequence state` of each release, when none is on its way any more. */
  async settled(): Promise<readonly string[]> {
    const report = (): readonly string[] =>
      this.settings
        .releases()
        .map(({ sequence, state, error }) => [sequence, state, error?.code ?? ''].join(' ').trim());
    await expect.poll(() => report().join()).not.toMatch(/fetching|stored/);
    return report();
  }
}

let device: Device;
beforeEach(() => {
  device = new Device();
});
afterEach(async () => {
  await device.settings.stop();
  rmSync(device.tree.root, { recursive: true, force: true });
});

describe('released settings on a device', () => {
  it('are applied, reported, kept, and applied again after a restart that lost them', async () => {
    device.settings.start(() => {});
    device.give(textOf('eco', 'powerModes: [15W]\ncpu: { governor: performance }\nthermalCeilingC: 70\n'));
    expect(await device.settled()).toEqual(['1 active']);
    expect(device.settings.thermalCeilingC).toBe(70);
    await expect.poll(() => device.settings.power).toEqual({ mode: '15W', cpuGovernor: 'performance' });
    await device.settings.stop();
    // sysfs has its own values again after a restart of the board.
    device.tree.write('/sys/devices/system/cpu/cpufreq/policy0/scaling_governor', 'schedutil\n');
    device.boot().start(() => {});
    expect(await device.settled()).toEqual(['1 active']);
    expect(device.tree.read('/sys/devices/system/cpu/cpufreq/policy0/scaling_governor')).toBe('performance');
  });

  it('that cannot be had leave those before them in force, and both are reported', async () => {
    device.give(textOf('eco', 'powerModes: [15W]\n'), 1);
    await device.settled();
    device.give(textOf('mad', 'powerModes: [60W]\n'), 2);
    expect(await device.settled()).toEqual(['2 failed board.unsupported', '1 active']);
    expect(device.tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0000');
    expect(device.accepted).toBe(1);
  });

  it.each([
    [
      'signed by somebody else',
      (text: string) => device.give(text, 2, generateKeyPairSync('ed25519').privateKey),
      'release.untrusted',
    ],
    ['older than what was taken', (text: string) => device.give(text, 4), 'release.downgraded'],
    ['no document', () => device.give('hello', 6), 'board-config.invalid'],
    ['of another board', (text: string) => device.give(text.replace('orin-nano', 'orin-nx'), 6), 'board.unsupported'],
  ])('%s are refused', async (_, give, code) => {
    device.accepted = 5;
    give(textOf('eco', 'powerModes: [15W]\n'));
    expect(await device.settled()).toEqual([expect.stringContaining(`failed ${code}`)]);
    expect(device.tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0001');
  });

  it('are fetched again when the controller has them later', async () => {
    const text = textOf('eco', 'powerModes: [15W]\n');
    const release = released(text);
    device.settings.takeUp(release);
    expect(await device.settled()).toEqual(['1 failed artefact.unavailable']);
    device.texts.set(release.manifest.sha256, text);
    device.clock.advance(30_000);
    expect(await device.settled()).toEqual(['1 active']);
  });

  it('come one after the other, the newest last', async () => {
    for (const [index, mode] of ['15W', 'MAXN_SUPER', '15W', '25W'].entries()) {
      device.give(textOf('eco', `powerModes: [${mode}]\n`), index + 1);
    }
    expect(await device.settled()).toEqual(['4 active']);
    expect(device.tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0001');
  });

  it('are tried again when they failed and the controller still wants them', async () => {
    const working = device.board;
    device.board = { read: () => working.read(), change: () => Promise.reject(new Error('busy')) };
    const text = textOf('eco', 'powerModes: [15W]\n');
    device.give(text);
    expect(await device.settled()).toEqual(['1 failed board.not-applied']);
    device.board = working;
    device.give(text);
    expect(await device.settled()).toEqual(['1 active']);
  });

  it('go back to those before them, and no further, also over a restart', async () => {
    const texts = ['15W', '25W', 'MAXN_SUPER'].map((mode) => textOf('eco', `powerModes: [${mode}]\n`));
    for (const [index, text] of texts.entries()) {
      device.give(text, index + 1);
      await device.settled();
    }
    await device.settings.stop();
    device.boot().start(() => {});
    await device.settled();
    device.give(texts[0] ?? '', 1);
    expect(await device.settled()).toEqual(['1 failed release.downgraded', '3 active']);
    device.give(texts[1] ?? '', 2);
    expect(await device.settled()).toEqual(['2 active']);
    expect(device.tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0001');
    await device.settings.stop();
    device.boot().start(() => {});
    expect(await device.settled()).toEqual(['2 active']);
    expect(device.accepted).toBe(3);
  });

  it('say what somebody else has set', async () => {
    device.settings.start(() => {});
    await expect.poll(() => device.settings.power.mode).toBe('25W');
    await device.board.change({ kind: 'power-mode', id: 2, name: 'MAXN_SUPER', was: 1 });
    device.clock.advance(60_000);
    await expect.poll(() => device.settings.power.mode).toBe('MAXN_SUPER');
  });
});
