/**
 * Public benchmarks of problems next to ours, in the text formats of OR-Library (J. E. Beasley 1990). The instances carry
 * no licence, so a person who has them gives the folder; nothing of them is kept here but the known optima.
 */
import { type LinearProgram, LinearProgramBuilder } from '../optimiser/linear-program.js';
import type { SubsetProblem } from '../optimiser/subset-problem.js';

/** OR-Library's optima of pmed1 to pmed15. */
export const P_MEDIAN_OPTIMA: readonly number[] = [
  5819, 4093, 4250, 3034, 1355, 7824, 5631, 4445, 2734, 1255, 7696, 6634, 4374, 2968, 1729,
];

const numbers = (text: string): number[] => (text.match(/[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?/g) ?? []).map(Number);

/**
 * `vertices edges p`, then edges `from to length`, the last one counting where one is given twice. Open exactly p
 * vertices so that all vertices together are nearest to one. Throws a RangeError when it is cut short.
 */
export function parsePMedian(text: string): SubsetProblem {
  const [vertices = NaN, edges = NaN, open = NaN, ...rest] = numbers(text);
  if (!(vertices > 0) || rest.length < 3 * edges) throw new RangeError('expected vertices, edges, p and the edges');
  const distance = new Float64Array(vertices * vertices).fill(Infinity);
  for (let e = 0; e < edges; e++) {
    const [from = 1, to = 1, length = NaN] = rest.slice(3 * e, 3 * e + 3);
    distance[(from - 1) * vertices + to - 1] = length;
    distance[(to - 1) * vertices + from - 1] = length;
  }
  for (let i = 0; i < vertices; i++) distance[i * vertices + i] = 0;
  shortenPaths(distance, vertices);
  const value = distance.map((each) => -each);
  return { facilities: vertices, clients: vertices, value, service: 'required', minCount: open, maxCount: open };
}

/** Floyd and Warshall. */
function shortenPaths(distance: Float64Array, vertices: number): void {
  for (let via = 0; via < vertices; via++)
    for (let from = 0; from < vertices; from++) {
      const first = distance[from * vertices + via] ?? Infinity;
      if (first === Infinity) continue;
      for (let to = 0; to < vertices; to++) {
        const length = first + (distance[via * vertices + to] ?? Infinity);
        if (length < (distance[from * vertices + to] ?? Infinity)) distance[from * vertices + to] = length;
      }
    }
}

/**
 * `sites customers`, then `capacity openCost` per site, then per customer its demand and what serving all of it costs
 * from each site. Capacities are ignored: the uncapacitated problem. Throws a RangeError when it is cut short.
 */
export function parseFacilityLocation(text: string): SubsetProblem {
  const [sites = NaN, customers = NaN, ...rest] = numbers(text.replaceAll('capacity', '0'));
  if (!(sites > 0) || rest.length < 2 * sites + customers * (sites + 1))
    throw new RangeError('expected sites, customers, the sites and the customers');
  const openCost = Array.from({ length: sites }, (_, i) => rest[2 * i + 1] ?? 0);
  const value = new Float64Array(sites * customers);
  for (let c = 0; c < customers; c++)
    for (let i = 0; i < sites; i++) value[i * customers + c] = -(rest[2 * sites + c * (sites + 1) + 1 + i] ?? 0);
  return { facilities: sites, clients: customers, value, service: 'required', openCost };
}

/** Generalised assignment: every job to one agent within its capacity, at least cost. */
export interface Assignment {
  readonly agents: number;
  readonly jobs: number;
  /** By agent, then job. */
  readonly cost: readonly number[];
  readonly use: readonly number[];
  /** By agent. */
  readonly capacity: readonly number[];
}

/** `agents jobs`, then costs, uses and capacities. Throws a RangeError when it is cut short. */
export function parseAssignment(text: string): Assignment {
  const [agents = NaN, jobs = NaN, ...rest] = numbers(text);
  const size = agents * jobs;
  if (!(size > 0) || rest.length < 2 * size + agents)
    throw new RangeError('expected agents, jobs, costs, uses and capacities');
  return {
    agents,
    jobs,
    cost: rest.slice(0, size),
    use: rest.slice(size, 2 * size),
    capacity: rest.slice(2 * size, 2 * size + agents),
  };
}

/** Column agent * jobs + job is 1 where the agent has the job. */
export function assignmentProgram({ agents, jobs, cost, use, capacity }: Assignment): LinearProgram {
  const builder = new LinearProgramBuilder();
  for (const each of cost) builder.addColumn({ cost: each, upper: 1, integer: true });
  for (let job = 0; job < jobs; job++)
    builder.addRow(
      1,
      1,
      Array.from({ length: agents }, (_, agent) => [agent * jobs + job, 1] as const),
    );
  for (let agent = 0; agent < agents; agent++)
    builder.addRow(
      0,
      capacity[agent] ?? 0,
      Array.from({ length: jobs }, (_, job) => [agent * jobs + job, use[agent * jobs + job] ?? 0] as const),
    );
  return builder.build('min');
}

/** Optima by instance, where known, from lines `name value` (cap) or from the columns `Path` and `Optimum` of a CSV (gap). */
export function parseOptima(text: string): ReadonlyMap<string, number> {
  const optima = new Map<string, number>();
  for (const line of text.split('\n')) {
    const cells = line.includes(',') ? line.split(',') : line.trim().split(/\s+/);
    const name = cells[0]?.replace(/^.*\//, '') ?? '';
    const cell = (cells.length > 2 ? cells[6] : cells[1]) ?? '';
    if (name !== '' && cell !== '' && Number.isFinite(Number(cell))) optima.set(name, Number(cell));
  }
  return optima;
}
