import { describe, expect, it } from 'vitest';

import { cbcAnswer, glpsolAnswer } from './peer-answers.js';

describe('cbcAnswer', () => {
  it('reads an optimum', () => {
    const output = `Cbc0010I After 0 nodes, 1 on tree, -821.12924 best solution, best possible -833.23913 (0.39 seconds)

Result - Optimal solution found

Objective value:                -826.97232603
Enumerated nodes:               10
Total iterations:               3473
`;
    expect(cbcAnswer(output)).toEqual({ status: 'optimal', objective: -826.97232603, bound: -826.97232603, nodes: 10 });
  });

  it('reads what was reached at the time limit, with the sharper bound', () => {
    const output = `Cbc0005I Partial search - best objective -904.55831 (best possible -905.30101), took 1008 iterations and 9 nodes (8.80 seconds)

Result - Stopped on time limit

Objective value:                -904.55830941
Lower bound:                    -905.301
Gap:                            0.00
Enumerated nodes:               9
`;
    expect(cbcAnswer(output)).toEqual({ status: 'feasible', objective: -904.55830941, bound: -905.30101, nodes: 9 });
  });

  it('reads that there is nothing', () => {
    const none = { objective: null, bound: null, nodes: null };
    const stopped = 'Result - Stopped on time limit\n\nNo feasible solution found\nLower bound:   -905.8\n';
    expect(cbcAnswer(stopped)).toMatchObject({ status: 'timeout', objective: null, bound: -905.8 });
    expect(cbcAnswer('Result - Problem proven infeasible\n')).toEqual({ status: 'infeasible', ...none });
    expect(cbcAnswer('Killed')).toEqual({ status: 'failed', ...none });
  });
});

describe('glpsolAnswer', () => {
  it('reads an optimum and its tree', () => {
    const output = `+   400: >>>>>  -8.269723260e+02 >=  -8.284897989e+02   0.2% (10; 20)
+   486: mip =  -8.269723260e+02 >=     tree is empty   0.0% (0; 45)
INTEGER OPTIMAL SOLUTION FOUND
`;
    expect(glpsolAnswer(output)).toEqual({ status: 'optimal', objective: -826.972326, bound: -826.972326, nodes: 45 });
  });

  it('reads what was reached at the time limit', () => {
    const line = (found: string) => `+  7946: mip =     ${found} >=  -9.057041221e+02        (205; 7)
TIME LIMIT EXCEEDED; SEARCH TERMINATED
`;
    const rest = { bound: -905.7041221, nodes: 212 };
    expect(glpsolAnswer(line('not found yet'))).toEqual({ status: 'timeout', objective: null, ...rest });
    expect(glpsolAnswer(line('-8.5e+02'))).toEqual({ status: 'feasible', objective: -850, ...rest });
    const none = { objective: null, bound: null, nodes: null };
    expect(glpsolAnswer('PROBLEM HAS NO PRIMAL FEASIBLE SOLUTION\n')).toEqual({ status: 'infeasible', ...none });
    expect(glpsolAnswer('TIME LIMIT EXCEEDED; SEARCH TERMINATED\n')).toEqual({ status: 'timeout', ...none });
    expect(glpsolAnswer('')).toEqual({ status: 'failed', ...none });
  });
});
