import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

import {
  dualBound,
  lastColumn,
  leaves,
  limited,
  objectiveOf,
  restricted,
  smallPrograms,
  type SmallProgram,
  splits,
  wholePoints,
} from './branching.fixture.js';
import { searchTree, TreeSearch } from './branching.js';
import type { SearchResult } from './search-task.js';
import { HighsSolver } from './highs-solver.js';
import { answering } from './lying-solver.fixture.js';
import type { LinearProgram } from './linear-program.js';
import type { LinearEngine, SessionAnswer } from './solver.js';

type Node = SearchResult['root'];
type SearchTask = Parameters<typeof searchTree>[0];

const GAP = 1e-9;
const ROUNDING = 1e-6;
let engine: LinearEngine;

beforeAll(async () => {
  engine = await new HighsSolver().engine();
});

/** What a test asks of the search beside the program. */
type Change = Partial<Omit<SearchTask, 'session'>> & {
  readonly answer?: (truth: SessionAnswer, call: number) => SessionAnswer;
  /** Nodes after which the search is stopped and run again, until it ends. */
  readonly pauseEvery?: number;
};

/** Searches as `placement-search.ts` does: a point that is whole counts for what it is worth. */
function search({ program, decisions }: SmallProgram, { answer, pauseEvery, ...change }: Change = {}): SearchResult {
  const session = engine.open(change.program ?? program);
  let call = 0;
  const told: SearchTask['onPoint'] = (point, bound, wholeRank) => {
    const fractional = decisions.filter(({ column }) => {
      const value = point[column] ?? NaN;
      return !(Math.abs(value - Math.round(value)) <= 1e-6);
    });
    expect(wholeRank).toBe(Math.min(Infinity, ...fractional.map(({ rank }) => rank - 1)));
    const objective = wholeRank === Infinity ? worth(program, decisions, point) : undefined;
    if (objective !== undefined) expect(objective).toBeLessThanOrEqual(bound + ROUNDING);
    return objective;
  };
  try {
    const task: SearchTask = {
      ...{ program, decisions, gap: GAP, mostNodes: 1000, incumbent: -Infinity, left: () => 10, onPoint: told },
      ...change,
      session: answer === undefined ? session : answering(session, (truth) => answer(truth, call++)),
    };
    return pauseEvery === undefined ? searchTree(task) : inPieces(new TreeSearch(task), task, pauseEvery);
  } finally {
    session.close();
  }
}

function inPieces(tree: TreeSearch, task: SearchTask, mostNodes: number): SearchResult {
  let result = tree.run({ ...task, mostNodes });
  while (result.isCut) {
    const { bound, nodes } = result;
    result = tree.run({ ...task, mostNodes });
    expect(result.nodes).toBeGreaterThan(nodes);
    expect(result.bound).toBeLessThanOrEqual(bound);
  }
  return result;
}

const worth = (program: LinearProgram, decisions: SearchTask['decisions'], point: Float64Array) =>
  objectiveOf(program, decisions.map(({ column }) => Math.round(point[column] ?? 0))); // prettier-ignore

const stopped = (): SessionAnswer => ({ status: 'stopped' });
const best = (small: SmallProgram) => Math.max(-Infinity, ...wholePoints(small).map(({ objective }) => objective));
const near = (value: number) => (Number.isFinite(value) ? ROUNDING * Math.max(1, Math.abs(value)) : 0);

const isWithin = ({ ranges }: Node, values: readonly number[]) =>
  values.every((value, j) => value >= (ranges.get(j)?.lower ?? 0) && value <= (ranges.get(j)?.upper ?? Infinity));

/** The tree is a proof: its leaves part all points, and each has duals or a ray that bound what is in it. */
function expectProof(small: SmallProgram, { root, objective, bound }: SearchResult): void {
  const points = wholePoints(small);
  const all = leaves(root);
  for (const { values, objective } of points) {
    const own = all.filter((leaf) => isWithin(leaf, values));
    expect(own.length).toBe(1);
    expect(own[0]?.bound).toBeGreaterThanOrEqual(objective - near(objective));
  }
  for (const { ranges, bound, proof } of all) {
    if (proof?.ray !== undefined) {
      const depths = [proof.ray, proof.ray.map((value) => -value)].map((ray) =>
        dualBound(small.program, ranges, ray, 0),
      );
      expect(Math.min(...depths)).toBeLessThan(0);
      expect(bound).toBe(-Infinity);
    } else if (proof !== undefined) {
      expect(dualBound(small.program, ranges, proof.duals)).toBeLessThanOrEqual(bound + near(bound));
    } else expect(bound).toBe(Infinity);
  }
  for (const { bound, split } of splits(root)) {
    expect(Math.max(split?.low.bound ?? NaN, split?.high.bound ?? NaN)).toBeLessThanOrEqual(bound);
  }
  const most = best(small);
  expect(objective).toBeLessThanOrEqual(most + near(most));
  expect(bound).toBeGreaterThanOrEqual(most - near(most));
  expect(bound).toBe(Math.max(objective, ...all.map((leaf) => leaf.bound)));
}

describe('searchTree', () => {
  it('finds the best point and leaves a tree that proves it', () => {
    fc.assert(
      fc.property(smallPrograms(-3, 6), (small) => {
        const result = search(small);
        expectProof(small, result);
        expect(result.isClosed).toBe(true);
        const most = best(small);
        if (most === -Infinity) expect([result.objective, result.bound]).toEqual([-Infinity, -Infinity]);
        else expect(result.bound - result.objective).toBeLessThanOrEqual(near(most));
      }),
      { numRuns: 200, seed: 20261001 },
    );
  });

  it('comes to the same in pieces of a few nodes, and each piece knows more', () => {
    fc.assert(
      fc.property(smallPrograms(0), fc.integer({ min: 2, max: 4 }), (small, pauseEvery) => {
        const result = search(small, { pauseEvery });
        expect(result.isClosed).toBe(true);
        expectProof(small, result);
        const whole = search(small);
        expect(Math.abs(result.bound - whole.bound)).toBeLessThanOrEqual(near(whole.bound));
      }),
      { numRuns: 150, seed: 20261125 },
    );
  });

  it('closes nothing that may be better than the gap asked for, and no more than that', () => {
    fc.assert(
      fc.property(
        smallPrograms(0),
        fc.constantFrom(0.02, 0.1, 0.5),
        fc.integer({ min: 1, max: 4 }),
        (small, gap, of) => {
          const incumbent = best(small) / of;
          const result = search(small, { gap, incumbent });
          expectProof(small, result);
          expect(result.objective).toBeGreaterThanOrEqual(incumbent);
          expect(result.bound).toBeLessThanOrEqual(result.objective + gap * Math.max(1, result.objective) + ROUNDING);
          expect(result.nodes).toBeLessThanOrEqual(search(small, { incumbent }).nodes);
        },
      ),
      { numRuns: 100, seed: 20261002 },
    );
  });
});

describe('a search that is cut short', () => {
  const checked = (
    change: (small: SmallProgram, n: number) => Change,
    isCut: (result: SearchResult, n: number) => boolean,
  ) =>
    fc.assert(
      fc.property(smallPrograms(-3), fc.integer({ min: 0, max: 8 }), (small, n) => {
        const [result, all] = [search(small, change(small, n)), search(small)];
        expectProof(small, result);
        if (result.isClosed) expect(result.bound).toBeCloseTo(all.bound, 5);
        else expect(isCut(result, n)).toBe(true);
      }),
      { numRuns: 100, seed: 20261004 },
    );

  it('by a number of nodes has solved no more, and its bound still holds', () => {
    checked((_, n) => ({ mostNodes: n }), ({ nodes }, n) => nodes === n); // prettier-ignore
  });

  it('by time has a bound that still holds', () => {
    checked(
      (_, n) => {
        let asked = 0;
        return { left: () => n - asked++ };
      },
      ({ nodes }, n) => nodes <= n,
    );
  });

  it('by a solver that stops keeps what is known of the part it stopped in', () => {
    checked((_, n) => ({ answer: (truth, call) => (call % 4 === n % 4 ? stopped() : truth) }), ({ nodes }) => nodes > 0); // prettier-ignore
  });

  it('by a solver that has broken down for good keeps the bound of before', () => {
    checked((_, n) => ({ answer: (truth, call) => (call >= n ? stopped() : truth) }), () => true); // prettier-ignore
  });

  it('by parts that are said to be empty without a ray does not believe it', () => {
    const empty: SessionAnswer = { status: 'infeasible', ray: undefined };
    checked((_, n) => ({ answer: (truth, call) => (call % 5 === n % 5 ? empty : truth) }), () => true); // prettier-ignore
  });

  it('before it began knows nothing but what it was told', () => {
    fc.assert(
      fc.property(smallPrograms(0), (small) => {
        const result = search(small, { left: () => 0, incumbent: 0 });
        expect(result).toMatchObject({ objective: 0, bound: Infinity, nodes: 0, isClosed: false });
        expect(result.root).toMatchObject({ proof: undefined, split: undefined });
      }),
      { numRuns: 5, seed: 20261005 },
    );
  });
});

describe('progress', () => {
  it('says a bound of all parts, also of those that are looked into no more', () => {
    fc.assert(
      fc.property(smallPrograms(-3, 6), fc.integer({ min: 2, max: 9 }), (small, n) => {
        const bounds: number[] = [];
        let told = 0;
        const { bound } = search(small, {
          gap: n / 100,
          answer: (truth, call) => (call % n === n - 1 ? stopped() : truth),
          // What points of pools lose on the devices: some are worth less, some nothing.
          onPoint: (point, _, wholeRank) => {
            if (wholeRank < Infinity || ++told % 3 === 0) return undefined;
            return (worth(small.program, small.decisions, point) ?? NaN) - (told % 2);
          },
          onProgress: (progress) => bounds.push(progress.bound),
        });
        expect(Math.min(Infinity, ...bounds)).toBeGreaterThanOrEqual(bound);
        expect(bounds).toEqual(bounds.toSorted((a, b) => b - a));
        if (bounds.length > 0) expect(bounds.at(-1)).toBe(bound);
      }),
      { numRuns: 150, seed: 20261006 },
    );
  });
});

describe('a program that approximates', () => {
  it('is priced, and given columns, until it proves the bound of what it stands for', () => {
    fc.assert(
      fc.property(smallPrograms(0), fc.boolean(), (small, isLoose) => {
        const column = lastColumn(small.program);
        const without = {
          ...small.program,
          upper: small.program.upper.map((upper, j) => (j === small.decisions.length ? 0 : upper)),
        };
        const result = search(small, {
          program: without,
          price: (duals, ranges) => {
            // At some parts the bound is looser than their parents'.
            const looser = isLoose ? ranges.size % 2 : 0;
            return { bound: dualBound(small.program, ranges, duals) + looser, columns: [column] };
          },
        });
        if (!isLoose) expect(result.objective).toBeCloseTo(best(small), 5);
        expectProof(small, result);
      }),
      { numRuns: 150, seed: 20261007 },
    );
  });
});

describe('a part that is searched on by another program', () => {
  /** The first so many columns as a catalogue of at most `most`. */
  const catalogue = (small: SmallProgram, most: number) => {
    const first = small.decisions.slice(0, 3);
    const program = limited(small.program, first.length, most);
    const decisions = small.decisions.map((each) => ({ ...each, upper: each.column < first.length ? 1 : each.upper }));
    return { first: decisions.slice(0, first.length), all: { program, decisions } };
  };

  it.each([1, 2, Infinity])('leaves trees that prove the best point together, of at most %s', (fullAt) => {
    fc.assert(
      fc.property(smallPrograms(-3), (small) => {
        const { first, all } = catalogue(small, Math.min(fullAt, 9));
        const most = best(all);
        const parts: string[] = [];
        let found = -Infinity;
        const { root, bound, isClosed } = search(all, {
          ...{ decisions: first, fullAt, onPoint: () => undefined },
          refine: (point) => {
            const chosen = first.map(({ column }) => Math.round(point[column] ?? 0));
            parts.push(chosen.join());
            const within = restricted(all, chosen);
            const result = search(within);
            found = Math.max(found, result.objective);
            expectProof(within, result);
            return { root: result.root, program: within.program };
          },
        });
        expect(isClosed).toBe(true);
        expect(new Set(parts).size).toBe(parts.length);
        if (most === -Infinity) expect([found, bound]).toEqual([-Infinity, -Infinity]);
        else expect([found, bound].map((each) => Math.abs(each - most) <= near(most))).toEqual([true, true]);
        const ones = ({ ranges }: Node) => [...ranges.values()].filter(({ lower }) => lower === 1).length;
        for (const node of splits(root)) expect(ones(node)).toBeLessThan(fullAt);
        for (const leaf of leaves(root)) {
          if (leaf.graft !== undefined && ones(leaf) < fullAt) expect(leaf.ranges.size).toBe(first.length);
          const below = leaf.graft === undefined ? [] : leaves(leaf.graft.root).map((each) => each.bound);
          if (leaf.graft !== undefined) expect(leaf.bound).toBeLessThanOrEqual(Math.max(...below));
        }
      }),
      { numRuns: 100, seed: 20261008 },
    );
  });
});
