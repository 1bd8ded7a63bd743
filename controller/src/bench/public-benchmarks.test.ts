import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { HighsSolver } from '../optimiser/highs-solver.js';
import { solveSubset } from '../optimiser/subset-kernel.js';
import { publicTable, runPublicBenchmarks } from './disk-public-benchmarks.js';
import { parseAssignment, parseFacilityLocation, parseOptima, parsePMedian } from './public-benchmarks.js';

// A path 1-2-3-4 of lengths 1, 5 and 1; the edge 2-3 is given twice, and the last length counts.
const PATH = ' 4 4 2 \n 1 2 1 \n 2 3 9 \n 3 4 1 \n 2 3 5 \n';
// Two sites, three customers; the second site serves all for 3 + 10.
const SITES = ' 2 3 \n 100 4. \n 100 10. \n 1 \n 2. 1. \n 1 \n 2.5 1. \n 1 \n 9e0 1. \n';
// Two agents, three jobs; the cheaper agent can take only two of them.
const AGENTS = ' 2 3\n 1 1 1\n 4 3 5\n 1 1 1\n 1 1 1\n 2 2\n';

const never = () => false;
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-public-'));
  for (const set of ['pmed', 'cap', 'gap']) await mkdir(join(folder, set));
  await writeFile(join(folder, 'pmed', 'pmed99.txt'), PATH);
  await writeFile(join(folder, 'cap', 'cap1.txt'), SITES);
  await writeFile(join(folder, 'cap', 'cap1.txt.opt'), 'not an instance');
  await writeFile(join(folder, 'cap', 'optimal-solutions.txt'), 'Optimal solutions\ncap1     13.000\n');
  await writeFile(join(folder, 'gap', 'mini-0'), AGENTS);
  await writeFile(
    join(folder, 'gap', 'data.csv'),
    'Path,Format,Dataset,Item number,Agent number,Best known bound,Optimum,Best known solution value\nx/mini-0,orlibrary,x,3,2,5,5,5\n',
  );
});
afterAll(() => rm(folder, { recursive: true }));

describe('public benchmarks', () => {
  it('reads the formats of OR-Library', () => {
    expect(solveSubset(parsePMedian(PATH), { expired: never })).toMatchObject({ status: 'optimal', objective: -2 });
    expect(solveSubset(parseFacilityLocation(SITES), { expired: never })).toMatchObject({
      status: 'optimal',
      subset: [1],
      objective: -13,
    });
    expect(parseAssignment(AGENTS)).toMatchObject({ agents: 2, jobs: 3, cost: [1, 1, 1, 4, 3, 5], capacity: [2, 2] });
    expect(parseOptima('cap71    932615.750\nsome text\n').get('cap71')).toBe(932615.75);
  });

  it.each([parsePMedian, parseFacilityLocation, parseAssignment])('refuses a text that is cut short: %o', (parse) => {
    expect(() => parse('')).toThrow(RangeError);
    expect(() => parse('5 5 1 2 3')).toThrow(RangeError);
  });

  it('solves what a folder has, and skips what it has not', async () => {
    const solver = new HighsSolver();
    const results = await runPublicBenchmarks(folder, solver, { timeLimitS: 10 });
    await solver.close();
    expect(results.map(({ name, optimum, ours, isProven }) => [name, optimum, ours, isProven])).toEqual([
      ['pmed99', null, 2, true],
      ['cap1', 13, 13, true],
      ['mini-0', 5, 5, true],
    ]);
    expect(publicTable(results).rows).toHaveLength(3);
    await expect(runPublicBenchmarks(join(folder, 'nowhere'), solver, { timeLimitS: 1 })).resolves.toEqual([]);
  });
});
