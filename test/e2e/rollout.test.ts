import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { DeviceView, ListBody, StatusView, VariantView } from '@fleetgate/shared/api/operations';
import type { ProposalView } from '@fleetgate/shared/api/proposals';
import { signRelease } from '@fleetgate/shared/catalogue/release';
import type { RolloutView } from '@fleetgate/shared/api/rollouts';

import { getJson, type RunningProcess, startFleetgate, until } from '../support/running-fleet.ts';

const DEVICE = 'one';
const MODEL = fileURLToPath(new URL('../../experts/moe/moe-q8_0.gguf', import.meta.url));
const owner = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');
const waves = [{ devices: { count: 1 }, soakS: 1, deadlineS: 300 }];

/** One device is all there is: the incumbent is asked before anything takes its place. */
describe('a rollout on a real device', () => {
  let folder: string;
  let url: string;
  let controller: RunningProcess<{ dashboard: string }>;
  let agent: RunningProcess<object>;

  const post = async <T>(path: string, body: object): Promise<T> => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${url}/api/v1/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return (await response.json()) as T;
  };
  const addVariant = (name: string, serving: object) =>
    post<VariantView>('experts/moe/variants', {
      name,
      how: 'for a test',
      from: 'moe-q8_0',
      serving,
      loss: { math: 0 },
    });
  const serves = async (variant: string): Promise<boolean> => {
    const device = await getJson<DeviceView>(`${url}/api/v1/devices/${DEVICE}`).catch(() => undefined);
    return device?.variants.some((one) => one.variantId === variant && one.residency === 'resident') === true;
  };
  const rolledOut = async (incumbent: string, candidate: string, gate = {}): Promise<RolloutView> => {
    const subject = { kind: 'variant', incumbent, candidate };
    const { id } = await post<RolloutView>('rollouts', { subject, waves, gate });
    let view: RolloutView | undefined;
    await until(
      async () => {
        view = await getJson<RolloutView>(`${url}/api/v1/rollouts/${id}`);
        return view.state !== 'running';
      },
      'the rollout ends',
      240_000,
    );
    if (view === undefined) throw new Error('the rollout was not seen');
    return view;
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-rollout-'));
    for (const name of ['moe', 'data']) {
      const from = fileURLToPath(new URL(`../../experts/${name}`, import.meta.url));
      cpSync(from, join(folder, 'experts', name), { recursive: true });
    }
    controller = startFleetgate([
      ...['controller', '--data', join(folder, 'controller'), '--experts', join(folder, 'experts')],
      ...['--http-port', '0', '--mqtt-port', '0'],
    ]);
    url = (await controller.first).dashboard.replace(/\/$/, '');
    writeFileSync(join(folder, 'owner.pub'), owner.publicKey.export({ type: 'spki', format: 'pem' }));
    const token = readFileSync(join(folder, 'controller', 'join-token'), 'utf8').trim();
    agent = startFleetgate(
      [
        ...['agent', '--controller', url, '--board', 'raspberry-pi-5', '--name', DEVICE],
        ...['--data', join(folder, DEVICE), '--threads', '1', '--release-keys', join(folder, 'owner.pub')],
      ],
      { FLEETGATE_JOIN_TOKEN: token },
    );
    const isPlanned = async () => (await getJson<StatusView>(`${url}/api/v1/status`)).activePlanId !== null;
    await until(
      async () => (await isPlanned()) && (await serves('moe-q8_0')),
      'the device serves the mixture',
      120_000,
    );
  }, 240_000);

  afterAll(async () => {
    const codes = [await agent.stop(), await controller.stop()];
    rmSync(folder, { recursive: true, force: true });
    expect(codes).toEqual([0, 0]);
  }, 60_000);

  it('takes a build that its owner signed, and none that somebody else signed', async () => {
    for (const [name, by, outcome] of [
      ['moe-foreign', stranger, { state: 'rolled-back', reason: `${DEVICE} could not take it` }],
      ['moe-signed', owner, { state: 'adopted', reason: null }],
    ] as const) {
      const { sha256, sizeBytes } = await addVariant(name, { slabBudgetBytes: 4_000_000 });
      const manifest = { kind: 'variant', name, sequence: 1, version: '-', sha256, sizeBytes, createdAtMs: 0 } as const;
      await post('releases', { release: signRelease(manifest, by.privateKey), source: MODEL });
      expect(await rolledOut('moe-q8_0', name, { quality: null })).toMatchObject(outcome);
    }
  }, 300_000);

  it('goes back by itself from what answers worse, after a few probe prompts', async () => {
    await addVariant('moe-worse', { slabMask: ['f000', 'f000', 'f000', 'f000'] });
    const view = await rolledOut('moe-signed', 'moe-worse');
    expect(view).toMatchObject({ state: 'rolled-back', devices: [] });
    expect(view.reason).toMatch(/^quality: at least 0\.\d+ is lost, 0\.02 is tolerated/);
    const quality = view.metrics.find(({ metric }) => metric === 'quality');
    expect(quality).toMatchObject({ verdict: 'worse' });
    expect(quality?.seen.candidate).toBeLessThan(60);
    await until(() => serves('moe-signed'), 'the device serves what it had again', 60_000);
  }, 300_000);

  it('is adopted where it answers the same with less memory, and planned with from then on', async () => {
    const { facts } = await addVariant('moe-half', { slabBudgetBytes: 2_600_000 });
    expect(facts.memoryBytes).toBeGreaterThan(0);
    const view = await rolledOut('moe-signed', 'moe-half');
    expect(view).toMatchObject({ state: 'adopted', devices: [DEVICE] });
    const quality = view.metrics.find(({ metric }) => metric === 'quality');
    expect(quality?.verdict).toBe('not-worse');
    expect(quality?.lostAtMost).toBeLessThan(0.002);
    await until(
      async () => (await serves('moe-half')) && !(await serves('moe-signed')),
      'the device serves it alone',
      60_000,
    );
  }, 300_000);

  it('begins with what the device was asked: a mask is proposed, tried, and rolled out to its class', async () => {
    const ask = (content: string) =>
      fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'moe-half', messages: [{ role: 'user', content }], max_tokens: 120 }),
      }).then((response) => response.text());
    const proposals = async () => (await getJson<ListBody<ProposalView>>(`${url}/api/v1/proposals`)).items;
    let asked = 0;
    await until(
      async () => {
        await ask(`Janet has ${(asked += 1)} apples and buys 4 more. How many apples does she have now?`);
        return (await proposals()).length > 0;
      },
      'what it was asked proposes something',
      120_000,
    );
    let found: ProposalView | undefined;
    await until(
      async () => {
        const all = await proposals();
        found = all.find(({ state }) => state === 'tolerated');
        return found !== undefined || all.every(({ kind, state }) => kind === 'offload' || state === 'too-much');
      },
      'every mask was tried',
      120_000,
    );
    const [one] = await proposals();
    expect(one).toMatchObject({ variantId: 'moe-half', board: 'raspberry-pi-5', devices: [DEVICE], of: 16 });
    expect(one?.prompts).toBeGreaterThan(19);
    const chosen = found ?? (await proposals()).find(({ kind }) => kind === 'offload');
    const { id } = await post<RolloutView>(`proposals/${chosen?.id ?? 'none'}/accept`, {});
    await until(
      async () => (await getJson<RolloutView>(`${url}/api/v1/rollouts/${id}`)).devices.length === 1,
      'its rollout has reached the device',
      120_000,
    );
  }, 400_000);
});
