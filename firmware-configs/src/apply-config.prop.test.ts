import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type BoardConfig, boardConfigSchema } from '@fleetgate/shared/catalogue/board-config';

import { applyConfig, type Board } from './apply-config.js';
import type { BoardState } from './board-state.js';
import type { PowerMode } from './nvpmodel.js';
import { type OwnSettings, planChanges, type Step } from './plan-changes.js';
import { GOVERNORS, MODES, SimulatedBoard } from './simulated-board.fixture.js';

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
