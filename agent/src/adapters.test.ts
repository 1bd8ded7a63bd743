import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import type { Desired, DesiredVariant } from '@fleetgate/shared/protocol/twin';

import { FakeController, TOKEN } from '../../test/support/fake-controller.ts';
import { parseAgentConfig } from './config/config.js';
import { writeLora } from './gguf/lora.fixture.js';
import { runAgent, type RunningAgent } from './main.js';

const NAME = 'pi-1';
const MATH = fileURLToPath(new URL('../../experts/math/math-q8_0.gguf', import.meta.url));

let controller: FakeController;
let folder: string;
let agent: RunningAgent | undefined;

beforeEach(async () => {
  controller = await FakeController.start();
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-adapters-'));
});
afterEach(async () => {
  await agent?.stop();
  agent = undefined;
  await controller.stop();
  await rm(folder, { recursive: true, force: true });
});

function desired(generation: number, variants: readonly DesiredVariant[]): Desired {
  const telemetry = { sampleMs: 1000, batchMs: 2000 };
  return { v: 1, generation, planId: null, state: 'active', variants: [...variants], telemetry };
}

const settledAt = (generation: number) =>
  controller.until(() => {
    const report = controller.lastReport();
    return report?.settled === true && report.observedGeneration === generation ? report : undefined;
  }, `settled at generation ${generation}`);

async function answer(variant: string, id: string): Promise<unknown> {
  const messages = [{ role: 'user', content: 'Tom has 3 apples and buys 4 more. How many has he?' }];
  const sampling = { maxTokens: 24, temperature: 0, topP: 1, stop: [] };
  await controller.sendJob(NAME, {
    v: 1,
    kind: 'chat',
    jobId: id,
    variantId: variant,
    timeoutMs: 30_000,
    messages,
    sampling,
  });
  await controller.until(() => controller.outsOf(id).some(({ kind }) => kind === 'done'), `end of job ${id}`);
  return controller
    .outsOf(id)
    .flatMap((out) => (out.kind === 'tokens' ? [out.text] : []))
    .join('');
}

describe('an agent told to serve adapters', () => {
  it('fetches them, measures each build, answers with each, and gives up what is not wanted', async () => {
    const base = await readGguf(MATH);
    const weights = base.tensors.map(({ name }) => name).filter((name) => /attn_[qv]|ffn_down/.test(name));
    const path = join(folder, 'adapter.gguf');
    writeLora(path, base, weights, { seed: 1 });
    const adapter = controller.addArtefact(readFileSync(path));
    const plain = {
      ...controller.addArtefact(readFileSync(MATH)),
      purpose: 'serve',
      contextTokens: 256,
      stop: [],
    } as const;
    const variantOf = (name: string, scale?: number, purpose: DesiredVariant['purpose'] = 'serve'): DesiredVariant => ({
      ...plain,
      variantId: variantId(name),
      purpose,
      stop: [],
      ...(scale === undefined ? {} : { serving: { adapters: [{ ...adapter, scale }] } }),
    });
    agent = await runAgent(
      parseAgentConfig({
        controllerUrl: controller.url,
        board: 'raspberry-pi-5',
        name: NAME,
        dataDir: join(folder, NAME),
        token: TOKEN,
        engine: { kind: 'llama', threads: 1, gpu: 'off' },
      }),
      { log: silentLogger },
    );
    await agent.ready;
    await controller.desire(
      NAME,
      desired(1, [variantOf('plain', undefined, 'measure'), variantOf('poet', 1, 'measure')]),
    );
    const { measurements } = await settledAt(1);
    expect(measurements.map(({ serving }) => serving?.adapters?.length ?? 0)).toEqual([0, 1]);

    await controller.desire(NAME, desired(2, [variantOf('plain'), variantOf('poet', 1), variantOf('silent', 0)]));
    const serving = await settledAt(2);
    expect(serving.variants.map(({ residency }) => residency)).toEqual(['resident', 'resident', 'resident']);
    const [first, poet, silent] = [
      await answer('plain', 'job-1'),
      await answer('poet', 'job-2'),
      await answer('silent', 'job-3'),
    ];
    expect(first).not.toBe('');
    expect(silent).toBe(first);
    expect(poet).not.toBe(first);

    await controller.desire(NAME, desired(3, [variantOf('poet', 1)]));
    const alone = await settledAt(3);
    expect(alone.variants.map((one) => one.variantId)).toEqual(['poet']);
    expect(alone.memory.usedBytes).toBeGreaterThan(plain.sizeBytes);
    expect(await answer('poet', 'job-4')).toBe(poet);
  });
});
