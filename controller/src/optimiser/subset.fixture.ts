import * as fc from 'fast-check';

import type { SubsetProblem } from './subset-problem.js';

const share = fc.integer({ min: 0, max: 100 }).map((n) => n / 100);
const level = fc.integer({ min: 0, max: 4 });
const list = <T>(each: fc.Arbitrary<T>, length: number) => fc.array(each, { minLength: length, maxLength: length });

/** Small problems with everything that the kernel knows, in combinations: costs, counts, budgets, replicas, fixed sides. */
export const randomSubsetProblems: fc.Arbitrary<SubsetProblem> = fc
  .record({
    facilities: fc.integer({ min: 1, max: 10 }),
    clients: fc.integer({ min: 1, max: 6 }),
    service: fc.constantFrom('optional' as const, 'required' as const),
    isWhole: fc.boolean(),
    resources: fc.integer({ min: 0, max: 2 }),
  })
  .chain(({ facilities, clients, service, isWhole, resources }) => {
    const worth = fc.tuple(isWhole ? level : share, fc.integer({ min: 0, max: 9 }));
    const impossible = service === 'required' ? -Infinity : 0;
    return fc
      .record({
        values: list(worth, facilities * clients),
        openCost: list(isWhole ? level : share.map((each) => 2 * each - 0.5), facilities),
        use: list(list(share, facilities), resources),
        budget: list(
          share.map((each) => each * facilities),
          resources,
        ),
        counts: fc.tuple(fc.integer({ min: 0, max: facilities }), fc.integer({ min: 0, max: facilities })),
        counted: fc.constantFrom('free', 'at most', 'exactly', 'between'),
        minReplicas: fc.constantFrom(0, 0, 0, 1, 2),
        forcedIn: fc.constantFrom([], [], [0]),
        forcedOut: fc.constantFrom([], [], [facilities - 1]),
        sign: fc.constantFrom(1, -1),
      })
      .map(({ values, counts, counted, sign, forcedIn, forcedOut, ...rest }): SubsetProblem => {
        const [least, most] = [Math.min(...counts), Math.max(...counts)];
        return {
          ...rest,
          facilities,
          clients,
          service,
          value: Float64Array.from(values, ([each, hole]) => (hole === 0 ? impossible : sign * each)),
          minCount: counted === 'exactly' ? most : counted === 'between' ? least : 0,
          maxCount: counted === 'free' ? facilities : most,
          forcedIn: facilities > 1 ? forcedIn : [],
          forcedOut: facilities > 1 ? forcedOut : [],
        };
      });
  });
