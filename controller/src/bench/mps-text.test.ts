import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { SeededRandom } from '@fleetgate/shared/random';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { buildExactModel } from '../optimiser/exact-model.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { type LinearProgram, LinearProgramBuilder } from '../optimiser/linear-program.js';
import { fleetProblem } from './fleet-instances.js';
import { mpsText } from './mps-text.js';
import { PEERS, runPeer } from './process-peer-solver.js';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-mps-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Every kind of row and column: equalities, ranges, free rows, negative bounds, columns without entries. */
function randomProgram(seed: number): LinearProgram {
  const random = new SeededRandom(seed);
  const builder = new LinearProgramBuilder();
  const columns = Array.from({ length: 8 }, (_, j) => {
    const lower = random.uniform() < 0.3 ? -3 : 0;
    const upper = lower + Math.ceil(5 * random.uniform());
    return builder.addColumn({ cost: random.uniform() - 0.3, lower, upper, integer: j % 3 === 0 });
  });
  builder.addColumn({ upper: 1 });
  for (let i = 0; i < 5; i++) {
    const entries = columns.map((column) => [column, random.uniform() - 0.4] as const);
    const [lower, upper] = [-2 - random.uniform(), 1 + random.uniform()];
    builder.addRow(i === 0 ? -Infinity : lower, i === 1 ? Infinity : upper, entries);
  }
  builder.addRow(-Infinity, Infinity, [[0, 1]]);
  builder.addRow(0.5, 0.5, [
    [1, 1],
    [2, -1],
    [4, 0.25],
  ]);
  return builder.build(seed % 2 === 0 ? 'max' : 'min');
}

const placement = () => {
  const shape = { devices: 10, variants: 6, classes: 6, kappa: 3, seed: 1, modes: false, sites: 0 };
  return buildExactModel(fleetProblem({ ...shape, jitter: 'none' })).program;
};

describe('mpsText', () => {
  it('names rows by kind, negates a maximisation and gives every column its bounds', () => {
    const builder = new LinearProgramBuilder();
    const x = builder.addColumn({ cost: 2, upper: 3, integer: true });
    const y = builder.addColumn({ lower: -1, upper: Infinity });
    builder.addRow(1, 4, [
      [x, 1],
      [y, 0.1],
    ]);
    builder.addRow(-Infinity, 7, [[y, 1e-7]]);
    expect(mpsText(builder.build('max'), 'two rows')).toBe(
      [
        'NAME two_rows FREE',
        'ROWS',
        ...[' N obj', ' L r0', ' L r1'],
        'COLUMNS',
        ...[" MARK 'MARKER' 'INTORG'", ' c0 obj -2', ' c0 r0 1', " MARK 'MARKER' 'INTEND'"],
        ...[' c1 r0 0.1', ' c1 r1 1e-7'],
        'RHS',
        ...[' RHS r0 4', ' RHS r1 7'],
        'RANGES',
        ' RNG r0 3',
        'BOUNDS',
        ...[' LO BND c0 0', ' UP BND c0 3', ' LO BND c1 -1', ' PL BND c1'],
        'ENDATA',
        '',
      ].join('\n'),
    );
  });

  it.for(PEERS)('is read by %s to the optimum of HiGHS', async (peer, { skip }) => {
    const solver = new HighsSolver();
    const file = join(folder, `${peer}.mps`);
    for (const program of [placement(), ...[1, 2, 3, 4, 5, 6].map(randomProgram)]) {
      const sign = program.sense === 'max' ? 1 : -1;
      const ours = await solver.solve(program, { timeLimitS: 20, gap: 0 });
      await writeFile(file, mpsText(program, 'test'));
      const peers = await runPeer(peer, file, { timeLimitS: 20, gap: 0 }, AbortSignal.timeout(25_000));
      if (peers === undefined) return skip(`${peer} is not installed`);
      expect(peers.status).toBe(ours.status);
      const optimum = 'objective' in ours ? sign * ours.objective : null;
      if (optimum === null) expect(peers.objective).toBeNull();
      else expect(peers.objective).toBeCloseTo(optimum, 5);
      expect(peers.wallS).toBeGreaterThan(0);
    }
  });
});
