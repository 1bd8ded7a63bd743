import { describe, expect, it } from 'vitest';

import type { Board } from './apply-config.js';

/** What every Board keeps to. `open` gives one with power modes 15W and 25W, in the latter, and clocks of cores and GPU. */
export function describeBoard(name: string, open: () => Board): void {
  describe(`a board: ${name}`, () => {
    it('says the same twice, and what it can be set to', async () => {
      const board = open();
      const state = await board.read();
      expect(await board.read()).toEqual(state);
      expect(state.powerModes.find(({ id }) => id === state.powerModeId)?.name).toBe('25W');
      for (const { governor, governors, cap, frequencies } of [...state.cpu, ...state.gpu]) {
        expect(governors).toContain(governor);
        expect(frequencies).toContain(cap);
        expect(frequencies).toEqual(frequencies.toSorted((a, b) => a - b));
      }
    });

    it.each([
      ['governor', 'scaling_governor', 'performance', { governor: 'performance' }],
      ['cap', 'scaling_max_freq', '960000', { cap: 960_000 }],
    ])('takes the %s of one clock and leaves the others', async (_, file, value, expected) => {
      const board = open();
      const before = await board.read();
      const [first, ...others] = before.cpu;
      await board.change({ kind: 'write', path: `${first?.path}/${file}`, value, was: '' });
      expect(await board.read()).toEqual({ ...before, cpu: [{ ...first, ...expected }, ...others] });
    });

    it('has the caps of its power mode once it is set', async () => {
      const board = open();
      const { powerModes } = await board.read();
      const mode = powerModes.find((one) => one.name === '15W');
      await board.change({ kind: 'power-mode', id: mode?.id ?? -1, name: '15W', was: undefined });
      const after = await board.read();
      expect(after.powerModeId).toBe(mode?.id);
      expect(after.gpu.map(({ cap }) => cap)).toEqual(after.gpu.map(() => mode?.gpuMaxHz));
    });

    it('refuses to write what it does not have, and stays as it is', async () => {
      const board = open();
      const before = await board.read();
      const change = board.change({ kind: 'write', path: '/sys/none', value: '1', was: '' });
      await expect(change).rejects.toMatchObject({ code: 'board.not-applied' });
      expect(await board.read()).toEqual(before);
    });
  });
}
