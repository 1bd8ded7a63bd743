import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

import { GuardedSolver } from './guarded-solver.js';
import { HighsSolver } from './highs-solver.js';
import { JavascriptLpSolver } from './javascript-lp-solver.js';
import { checkPoint, type LinearProgram, LinearProgramBuilder } from './linear-program.js';

const limits = { timeLimitS: 5, gap: 0 };
const exact = new HighsSolver();
const tiny = new JavascriptLpSolver();
afterAll(() => tiny.close());

function knapsack(weights: readonly number[], values: readonly number[], capacity: number): LinearProgram {
  const builder = new LinearProgramBuilder();
  const columns = values.map((cost) => builder.addColumn({ cost, upper: 1, integer: true }));
  builder.addRow(
    -Infinity,
    capacity,
    columns.map((column, i) => [column, weights[i] ?? 0] as const),
  );
  return builder.build('max');
}

describe('JavascriptLpSolver', () => {
  it('agrees with HiGHS on small knapsacks, checked against our own arrays', async () => {
    const figure = fc.integer({ min: 1, max: 1000 }).map((n) => n / 100);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(figure, figure), { minLength: 1, maxLength: 10 }),
        figure,
        async (items, capacity) => {
          const program = knapsack(
            items.map(([w]) => w),
            items.map(([, v]) => v),
            capacity * 2,
          );
          const [mine, other] = [await tiny.solve(program, limits), await exact.solve(program, limits)];
          if (mine.status !== 'feasible' || other.status !== 'optimal')
            throw new Error(`${mine.status} ${other.status}`);
          expect(mine.objective).toBeCloseTo(other.objective, 6);
          expect(checkPoint(program, mine.point)).toMatchObject({ fraction: 0 });
          expect(mine.bound).toBe(Infinity);
        },
      ),
      { numRuns: 40, seed: 3 },
    );
  });

  it('refuses what is too large for it', async () => {
    const many = Array.from({ length: 200 }, (_, i) => i + 1);
    expect(await tiny.solve(knapsack(many, many, 50), limits)).toMatchObject({ status: 'failed' });
  });

  it('is cut off when time is over, and answers again afterwards', async () => {
    const items = Array.from({ length: 90 }, (_, i) => 1 + ((i * 7919) % 97) / 97);
    const hard = knapsack(
      items,
      items.map((each, i) => each * (1 + ((i * 31) % 7) / 1e4)),
      41.123,
    );
    const answer = await tiny.solve(hard, { timeLimitS: 0.001, gap: 0 });
    expect(answer.status).toBe('failed');
    expect(await tiny.solve(knapsack([1], [1], 1), limits)).toMatchObject({ status: 'feasible', objective: 1 });
  });
});

describe('GuardedSolver', () => {
  it('takes the small answer only when the relaxation proves it', async () => {
    const guarded = new GuardedSolver({ exact, tiny });
    const even = await guarded.solve(knapsack([1, 1], [3, 2], 1), limits);
    expect(even).toMatchObject({ status: 'optimal', objective: 3, bound: 3 });
    const fractional = await guarded.solve(knapsack([2, 2], [3, 2], 3), limits);
    expect(fractional).toMatchObject({ status: 'optimal', objective: 3, bound: 3 });
    expect((await guarded.solve(knapsack([1], [1], -1), limits)).status).toBe('infeasible');
  });
});

describe('HighsSolver', () => {
  it('gives duals that prove the optimum of a linear program', async () => {
    const builder = new LinearProgramBuilder();
    const [x, y] = [builder.addColumn({ cost: 30, upper: 100 }), builder.addColumn({ cost: 50, upper: 100 })];
    builder.addRow(-Infinity, 40, [
      [x, 1],
      [y, 2],
    ]);
    builder.addRow(-Infinity, 50, [
      [x, 2],
      [y, 1],
    ]);
    const answer = await exact.solve(builder.build('max'), limits);
    if (answer.status !== 'optimal') throw new Error(answer.status);
    expect(answer.objective).toBeCloseTo(1100, 9);
    expect([...(answer.rowDuals ?? [])].map((dual) => Math.round(dual * 1e6) / 1e6)).toEqual([23.333333, 3.333333]);
  });

  it('says failed instead of throwing when a program makes no sense', async () => {
    const builder = new LinearProgramBuilder();
    builder.addColumn({ cost: NaN, upper: 1 });
    builder.addRow(0, 1, [[0, 1]]);
    expect((await exact.solve(builder.build('max'), limits)).status).toBe('failed');
    expect((await exact.solve(knapsack([1], [1], 1), limits)).status).toBe('optimal');
  });
});
