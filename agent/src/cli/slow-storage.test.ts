import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { systemClock } from '@fleetgate/shared/clock';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { slabsBytesOf } from '@fleetgate/shared/gguf/facts';
import { variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { EngineModel } from '../engine/engine.js';
import { createLlamaEngine, type LlamaEngine } from '../engine/llama-engine.js';
import { deviceOf, openSandbox, type Sandbox } from './bench-offload-sandbox.js';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const VARIANT = variantId('moe');
const never = new AbortController().signal;
const INPUT = {
  kind: 'chat' as const,
  messages: [{ role: 'user' as const, content: 'What are the symptoms of flu?' }],
};
const SAMPLING = { maxTokens: 16, temperature: 0, topP: 1, stop: [] };

let folder: string;
let sandbox: Sandbox;
let engine: LlamaEngine;
let model: EngineModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-slow-'));
  const path = join(folder, 'moe.gguf');
  await copyFile(MOE, path);
  const slabBudgetBytes = Math.ceil(0.2 * slabsBytesOf(await readGguf(path)));
  model = { variantId: VARIANT, path, contextTokens: 128, stop: [], serving: { slabBudgetBytes } };
  sandbox = await openSandbox(`fleetgate-slow-${process.pid}`, undefined, (await deviceOf(folder)).device);
  engine = createLlamaEngine({
    ...{ threads: 1, sequences: 1, gpu: 'off', hosts: 'slabs' },
    watchdog: milliseconds(3000),
    log: silentLogger,
    clock: systemClock,
  });
});
afterAll(async () => {
  await engine.close();
  await sandbox.remove();
  await rm(folder, { recursive: true });
});

async function answer() {
  let text = '';
  const result = await engine.generate(VARIANT, INPUT, SAMPLING, (piece) => (text += piece), never);
  return { text, result };
}

describe('the slab-aware engine on storage that slows to 1 MB/s in the middle', () => {
  it('answers slowly, to the letter, and is not taken for hung', async ({ skip }) => {
    // Throttling takes root and a control group.
    if (!sandbox.throttles) skip('storage cannot be throttled here');
    await engine.load(model, never);
    const before = await answer();
    await sandbox.add(engine.childPid ?? 0);
    await sandbox.throttle(1e6);
    const slowly = await answer();
    await sandbox.throttle(undefined);
    expect(slowly.text).toBe(before.text);
    expect(engine.state()).toEqual({ state: 'ready' });
    const { bytesRead = 0, waitMs = 0 } = slowly.result.slabs ?? {};
    expect(bytesRead).toBeGreaterThan(0);
    expect(waitMs).toBeGreaterThan((before.result.slabs?.waitMs ?? 0) * 2);
  });
});
