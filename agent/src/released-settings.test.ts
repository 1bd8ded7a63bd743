import { generateKeyPairSync } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import { DiskBoard } from '@fleetgate/firmware-configs/disk-board';
import { signRelease } from '@fleetgate/shared/catalogue/release';
import { systemClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { anOrinNano, type BoardTree } from '../../firmware-configs/src/board-tree.fixture.ts';
import { FakeController, TOKEN } from '../../test/support/fake-controller.ts';
import { parseAgentConfig } from './config/config.js';
import { ScriptedEngine } from './engine/scripted-engine.js';
import { runAgent } from './main.js';
import { FixedSensors } from './sensors/sensors.js';

const NAME = 'orin-1';
const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const TEXT = `schema: fleetgate-board-config/1
name: eco
boards: [jetson-orin-nano]
description: for a test
powerModes: [15W]
thermalCeilingC: 70
sources: [none]
`;

let controller: FakeController;
let folder: string;
let tree: BoardTree;
let stop = (): Promise<void> => Promise.resolve();

beforeEach(async () => {
  controller = await FakeController.start();
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-agent-'));
  tree = anOrinNano();
});
afterEach(async () => {
  await stop();
  await controller.stop();
  await rm(folder, { recursive: true, force: true });
  rmSync(tree.root, { recursive: true, force: true });
});

it('an agent fetches, applies and reports the board config that it is to have, and spares itself by its ceiling', async () => {
  const releaseKeysFile = join(folder, 'keys.pem');
  writeFileSync(releaseKeysFile, publicKey.export({ type: 'spki', format: 'pem' }));
  const config = parseAgentConfig({
    controllerUrl: controller.url,
    board: 'jetson-orin-nano',
    name: NAME,
    dataDir: join(folder, NAME),
    token: TOKEN,
    engine: { kind: 'llama' },
    releaseKeysFile,
  });
  const agent = await runAgent(config, {
    log: silentLogger,
    engine: new ScriptedEngine({ clock: systemClock, perToken: milliseconds(2), prefill: milliseconds(2) }),
    sensors: new FixedSensors({ temperatureC: 68 }),
    board: new DiskBoard({ root: tree.root }),
  });
  stop = () => agent.stop();
  await agent.ready;
  expect((await controller.until(() => controller.lastReport(), 'report')).governor).toBeUndefined();
  const { sha256, sizeBytes } = controller.addArtefact(Buffer.from(TEXT));
  const about = {
    kind: 'board-config',
    name: 'jetson-orin-nano',
    sequence: 3,
    version: '1.2',
    createdAtMs: 0,
  } as const;
  const boardConfig = signRelease({ ...about, sha256, sizeBytes }, privateKey);
  await controller.desire(NAME, {
    v: 1,
    generation: 1,
    planId: null,
    state: 'active',
    variants: [],
    telemetry: { sampleMs: 100, batchMs: 200 },
    releases: { boardConfig },
  });
  const report = await controller.until(
    () => controller.reports.find(({ power, governor }) => power.mode === '15W' && governor !== undefined),
    'board config in force',
  );
  expect(report.releases).toEqual([{ kind: 'board-config', name: 'jetson-orin-nano', sequence: 3, state: 'active' }]);
  expect(report.power).toMatchObject({ mode: '15W', cpuGovernor: 'schedutil' });
  expect(report.governor).toEqual({ strain: 1, reason: '68 °C, throttles at 70 °C' });
});
