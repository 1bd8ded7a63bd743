import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { afterEach, describe, expect, it } from 'vitest';

import { type BoardConfig, parseBoardConfig } from '@fleetgate/shared/catalogue/board-config';

import { applyConfig, type Board } from './apply-config.js';
import { powerModeInForce } from './board-state.js';
import { anOrinNano, aRaspberryPi, type BoardTree } from './board-tree.fixture.js';
import { DiskBoard } from './disk-board.js';
import { type OwnSettings, planChanges, type Step } from './plan-changes.js';

const CORES = '/sys/devices/system/cpu/cpufreq';
const GPU = '/sys/class/devfreq/17000000.gpu';
const NOTHING_OWN: OwnSettings = { files: {} };

function aConfig(settings: Partial<BoardConfig>): BoardConfig {
  return {
    schema: 'fleetgate-board-config/1',
    name: 'tried',
    boards: ['jetson-orin-nano'],
    description: 'for a test',
    sources: ['none'],
    ...settings,
  } as BoardConfig;
}

const trees: BoardTree[] = [];
const on = (tree: BoardTree): { tree: BoardTree; board: Board } => {
  trees.push(tree);
  return { tree, board: new DiskBoard({ root: tree.root }) };
};
afterEach(() => {
  for (const { root } of trees.splice(0)) rmSync(root, { recursive: true, force: true });
});

/** Applies and gives what the board had of its own. */
async function apply(config: BoardConfig, board: Board, own = NOTHING_OWN): Promise<OwnSettings> {
  let kept = own;
  await applyConfig(config, board, own, (next) => (kept = next));
  return kept;
}

describe('a board config on a tree of an Orin Nano', () => {
  it('is planned without a change to anything', async () => {
    const { tree, board } = on(anOrinNano());
    const config = aConfig({ powerModes: ['15W'], gpu: { maxHz: 550e6 }, cpu: { governor: 'performance' } });
    expect(planChanges(config, await board.read(), NOTHING_OWN)).toEqual({
      obstacles: [],
      steps: [
        { kind: 'power-mode', id: 0, name: '15W', was: 1 },
        { kind: 'write', path: `${CORES}/policy0/scaling_governor`, value: 'performance', was: 'schedutil' },
        { kind: 'write', path: `${CORES}/policy4/scaling_governor`, value: 'performance', was: 'schedutil' },
        { kind: 'write', path: `${GPU}/max_freq`, value: '510000000', was: '918000000' },
      ],
    });
    expect(tree.read('/var/lib/nvpmodel/status')).toBe('pmode:0001');
  });

  it('sets the mode, then what the mode resets; once there, nothing is left to do', async () => {
    const { tree, board } = on(anOrinNano());
    const config = aConfig({ powerModes: ['15W'], gpu: { maxHz: 550e6 } });
    const own = await apply(config, board);
    expect(powerModeInForce(await board.read())).toBe('15W');
    expect(tree.read(`${GPU}/max_freq`)).toBe('510000000');
    expect(planChanges(config, await board.read(), own).steps).toEqual([]);
  });

  it('never raises a cap above that of the power mode', async () => {
    const { tree, board } = on(anOrinNano());
    await apply(aConfig({ powerModes: ['15W'], cpu: { maxKHz: 9e6 }, gpu: { maxHz: 9e9 } }), board);
    expect(tree.read(`${CORES}/policy0/scaling_max_freq`)).toBe('1344000');
    expect(tree.read(`${GPU}/max_freq`)).toBe('612000000');
  });

  it('gives back what the next one does not name', async () => {
    const { tree, board } = on(anOrinNano());
    const eco = await apply(aConfig({ powerModes: ['15W'], cpu: { governor: 'performance', maxKHz: 1e6 } }), board);
    await apply(aConfig({}), board, eco);
    expect(powerModeInForce(await board.read())).toBe('25W');
    expect(tree.read(`${CORES}/policy4/scaling_governor`)).toBe('schedutil');
    expect(tree.read(`${CORES}/policy4/scaling_max_freq`)).toBe('1344000');
  });

  it("in another mode gives a clock the whole of that mode, not of the board's own", async () => {
    const { tree, board } = on(anOrinNano());
    const eco = await apply(aConfig({ powerModes: ['15W'], gpu: { maxHz: 408e6 } }), board);
    await apply(aConfig({ powerModes: ['MAXN_SUPER'] }), board, eco);
    expect(tree.read(`${GPU}/max_freq`)).toBe('1020000000');
  });

  it.each<[string, Partial<BoardConfig>, RegExp]>([
    ['a mode that the table does not have', { powerModes: ['60W'] }, /has 15W, 25W, MAXN_SUPER, 7W, none of 60W/],
    ['a mode that takes a restart', { powerModes: ['7W'] }, /7W \(3\) switches other parts of the GPU off/],
    ['a governor that there is not', { cpu: { governor: 'eager' } }, /cpu.governor: .*policy0 has .*not eager/],
  ])('refuses %s and changes nothing', async (_, settings, reason) => {
    const { tree, board } = on(anOrinNano());
    await expect(apply(aConfig({ gpu: { maxHz: 408e6 }, ...settings }), board)).rejects.toMatchObject({
      code: 'board.unsupported',
      message: expect.stringMatching(reason) as string,
    });
    expect(tree.read(`${GPU}/max_freq`)).toBe('918000000');
  });

  it('reads back: a mode that is not taken is an error', async () => {
    const { tree, board } = on(anOrinNano());
    tree.write('/deaf', '');
    await expect(apply(aConfig({ powerModes: ['15W'] }), board)).rejects.toMatchObject({
      code: 'board.not-applied',
      message: expect.stringContaining('did not take power mode 15W (0)') as string,
    });
  });

  it('sets everything again as it was when a later step fails', async () => {
    const { tree, board } = on(anOrinNano());
    await apply(aConfig({ gpu: { maxHz: 510e6 } }), board);
    const before = await board.read();
    const failing: Board = {
      read: () => board.read(),
      change: (step: Step) =>
        step.kind === 'write' && step.path.includes('policy4')
          ? Promise.reject(new Error('no such device'))
          : board.change(step),
    };
    const config = aConfig({ powerModes: ['15W'], cpu: { governor: 'performance' } });
    await expect(apply(config, failing)).rejects.toMatchObject({
      code: 'board.not-applied',
      message: 'no such device; the former settings are back',
    });
    expect(await board.read()).toEqual(before);
    expect(tree.read(`${GPU}/max_freq`)).toBe('510000000');
  });

  it('tells when nvpmodel wants a restart, and never agrees to one', async () => {
    const { tree, board } = on(anOrinNano());
    await expect(board.change({ kind: 'power-mode', id: 3, name: '7W', was: 1 })).rejects.toMatchObject({
      code: 'board.not-applied',
      message: expect.stringContaining('takes a restart') as string,
    });
    expect(existsSync(join(tree.root, 'rebooted'))).toBe(false);
  });

  it('says what is missing where nvpmodel cannot be run', async () => {
    const { tree, board } = on(anOrinNano());
    rmSync(join(tree.root, 'usr/sbin/nvpmodel'));
    await expect(apply(aConfig({ powerModes: ['15W'] }), board)).rejects.toMatchObject({ code: 'board.not-applied' });
    expect(powerModeInForce(await board.read())).toBe('25W');
  });
});

describe('a board config on a tree of a Raspberry Pi', () => {
  it('caps the cores at a frequency that they have, and only reads the firmware', async () => {
    const { tree, board } = on(aRaspberryPi());
    await apply(aConfig({ cpu: { governor: 'ondemand', maxKHz: 1_850_000 } }), board);
    expect(tree.read(`${CORES}/policy0/scaling_max_freq`)).toBe('1800000');
    expect((await board.read()).firmware).toEqual([
      { key: 'arm_freq', value: '2800', filter: 'pi5' },
      { key: 'temp_soft_limit', value: '70', filter: 'all' },
    ]);
  });

  it('has no power modes and no clock of its GPU', async () => {
    const { board } = on(aRaspberryPi());
    const plan = planChanges(aConfig({ powerModes: ['15W'], gpu: { maxHz: 1 } }), await board.read(), NOTHING_OWN);
    expect(plan.obstacles.map(({ setting }) => setting)).toEqual(['powerModes', 'gpu.maxHz']);
  });

  it('makes no file that the kernel does not have', async () => {
    const { tree, board } = on(aRaspberryPi());
    const step = { kind: 'write', path: '/sys/none', value: '1', was: '0' } as const;
    await expect(board.change(step)).rejects.toMatchObject({ code: 'board.not-applied' });
    expect(existsSync(join(tree.root, 'sys/none'))).toBe(false);
  });
});

describe('a board config document', () => {
  const valid =
    'schema: fleetgate-board-config/1\nname: eco\nboards: [jetson-orin-nano]\ndescription: d\nsources: [s]\n';

  it.each([
    ['no YAML', 'a: [', /not readable as YAML/],
    ['nothing', '', /expected object/],
    ['an unknown setting', `${valid}overclock: true\n`, /overclock/],
    ['a name that would leave its folder', valid.replace('eco', '../eco'), /name/],
    ['a governor with a slash', `${valid}cpu: { governor: ../../x }\n`, /cpu\.governor/],
    ['a ceiling that boils', `${valid}thermalCeilingC: 200\n`, /thermalCeilingC/],
    ['aliases that blow up', `${valid}x: &a [1]\ny: *a\n`, /YAML|alias/i],
    ['more than anybody writes', valid + '#'.repeat(70_000), /characters/],
  ])('that is %s is refused with the reason', (_, text, reason) => {
    expect(() => parseBoardConfig(text, 'there')).toThrow(expect.objectContaining({ code: 'board-config.invalid' }));
    expect(() => parseBoardConfig(text, 'there')).toThrow(reason);
  });
});
