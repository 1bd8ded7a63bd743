import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type BoardConfig, boardConfigSchema } from '@fleetgate/shared/catalogue/board-config';

import { applyConfig, type Board } from './apply-config.js';
import { ORIN_NANO_TABLE } from './board-tree.fixture.js';
import type { BoardState, ClockDomain } from './board-state.js';
import { parsePowerModes, type PowerMode } from './nvpmodel.js';
import { type OwnSettings, planChanges, type Step } from './plan-changes.js';

// Without 7W, which takes a restart.
const MODES = parsePowerModes(ORIN_NANO_TABLE).modes.slice(0, 3);
const GOVERNORS = ['performance', 'schedutil'];
const KHZ = [729_600, 960_000, 1_344_000, 1_728_000];
const HZ = [306e6, 510e6, 612e6, 918e6, 1020e6];

const clockOf = (path: string, frequencies: readonly number[], cap: number): ClockDomain => ({
  path,
  governor: 'schedutil',
  governors: GOVERNORS,
  cap,
  hardwareMax: frequencies.at(-1),
  frequencies,
});

/** A simulated board whose power modes reset the caps, as nvpmodel does; `failAt`: the change that fails once. */
class SimulatedBoard implements Board {
  state: BoardState = {
    powerModes: MODES,
    powerModeId: 1,
    cpu: [clockOf('/policy0', KHZ, 1_344_000), clockOf('/policy4', KHZ, 1_344_000)],
    gpu: [clockOf('/gpu', HZ, 918e6)],
    firmware: [],
  };
  failAt = Infinity;
  #changes = 0;

  read(): Promise<BoardState> {
    return Promise.resolve(this.state);
  }

  change(step: Step): Promise<void> {
    if (this.#changes++ === this.failAt) return Promise.reject(new Error('refused'));
    this.state = step.kind === 'power-mode' ? inMode(this.state, step.id) : written(this.state, step);
    return Promise.resolve();
  }
}

function inMode(state: BoardState, id: number): BoardState {
  const mode = MODES.find((one) => one.id === id);
  const capped = (domains: readonly ClockDomain[], cap: number | undefined): readonly ClockDomain[] =>
    domains.map((domain) => ({ ...domain, cap: cap ?? domain.hardwareMax ?? 0 }));
  return { ...state, powerModeId: id, cpu: capped(state.cpu, mode?.cpuMaxKHz), gpu: capped(state.gpu, mode?.gpuMaxHz) };
}

function written(state: BoardState, { path, value }: { readonly path: string; readonly value: string }): BoardState {
  const set = (domain: ClockDomain): ClockDomain => {
    if (!path.startsWith(`${domain.path}/`)) return domain;
    return path.endsWith('governor') ? { ...domain, governor: value } : { ...domain, cap: Number(value) };
  };
  return { ...state, cpu: state.cpu.map(set), gpu: state.gpu.map(set) };
}

const governor = fc.option(fc.constantFrom(...GOVERNORS), { nil: undefined });
const aConfig: fc.Arbitrary<BoardConfig> = fc
  .record(
    {
      powerModes: fc.uniqueArray(fc.constantFrom('15W', '25W', 'MAXN_SUPER'), { minLength: 1, maxLength: 3 }),
      cpu: fc.record({ governor, maxKHz: fc.option(fc.integer({ min: 1, max: 3e6 }), { nil: undefined }) }),
      gpu: fc.record({ governor, maxHz: fc.option(fc.integer({ min: 1, max: 2e9 }), { nil: undefined }) }),
    },
    { requiredKeys: [] },
  )
  .map((settings) =>
    boardConfigSchema.parse({
      schema: 'fleetgate-board-config/1',
      name: 'any',
      boards: ['jetson-orin-nano'],
      description: 'for a test',
      sources: ['none'],
      ...settings,
    }),
  );
const OWN = boardConfigSchema.parse({
  schema: 'fleetgate-board-config/1',
  name: 'own',
  boards: ['jetson-orin-nano'],
  description: 'nothing',
  sources: ['none'],
});

async function applyAll(board: Board, configs: readonly BoardConfig[]): Promise<OwnSettings> {
  let own: OwnSettings = { files: {} };
  for (const config of configs) await applyConfig(config, board, own, (next) => (own = next));
  return own;
}

const modeOf = ({ powerModeId }: BoardState): PowerMode | undefined => MODES.find(({ id }) => id === powerModeId);

describe('whatever board configs come one after the other', () => {
  it('each leaves nothing to do, and no clock above its power mode', () =>
    fc.assert(
      fc.asyncProperty(fc.array(aConfig, { minLength: 1, maxLength: 5 }), async (configs) => {
        const board = new SimulatedBoard();
        const own = await applyAll(board, configs);
        const last = configs.at(-1) ?? OWN;
        expect(planChanges(last, board.state, own)).toEqual({ steps: [], obstacles: [] });
        const mode = modeOf(board.state);
        for (const { cap } of board.state.cpu) expect(cap).toBeLessThanOrEqual(mode?.cpuMaxKHz ?? Infinity);
        for (const { cap } of board.state.gpu) expect(cap).toBeLessThanOrEqual(mode?.gpuMaxHz ?? Infinity);
      }),
    ));

  it('one without settings brings the board back to what it had', () =>
    fc.assert(
      fc.asyncProperty(fc.array(aConfig, { maxLength: 5 }), async (configs) => {
        const board = new SimulatedBoard();
        const before = board.state;
        await applyAll(board, [...configs, OWN]);
        expect(board.state).toEqual(before);
      }),
    ));

  it('a change that fails leaves the board as the one before had set it', () =>
    fc.assert(
      fc.asyncProperty(aConfig, aConfig, fc.nat({ max: 8 }), async (first, second, failAt) => {
        const board = new SimulatedBoard();
        const own = await applyAll(board, [first]);
        const before = board.state;
        const failing = Object.assign(new SimulatedBoard(), { state: board.state, failAt });
        const outcome = await applyConfig(second, failing, own, () => {}).catch((error: unknown) => error);
        if (outcome instanceof Error) expect(failing.state).toEqual(before);
        else expect((outcome as readonly Step[]).length).toBeLessThanOrEqual(failAt);
      }),
    ));
});
