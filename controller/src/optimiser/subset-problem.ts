/**
 * Monotone subset selection: which facilities to open so that the clients, each served by its best open facility, are
 * worth most. Experts and prompt classes, p-median and uncapacitated facility location are all of this shape.
 *
 *   max  sum_c max_{i in S} value_ic - sum_{i in S} openCost_i
 *   s.t. minCount <= |S| <= maxCount,  sum_{i in S} use_ji <= budget_j,  minReplicas facilities in S serve each client
 */
export interface SubsetProblem {
  readonly facilities: number;
  readonly clients: number;
  /** By facility, then client, weights included; -Infinity where a `required` service is impossible. */
  readonly value: Float64Array;
  /** `optional`: a client may go unserved and is then worth 0. `required`: every client has to be served. */
  readonly service: 'optional' | 'required';
  /** By facility; below 0 where opening pays. */
  readonly openCost?: readonly number[];
  readonly minCount?: number;
  readonly maxCount?: number;
  /** By resource, then facility; at least 0. */
  readonly use?: readonly (readonly number[])[];
  readonly budget?: readonly number[];
  readonly minReplicas?: number;
  /** By facility, then client: 1 where it counts as a replica. Without it: where its value is above 0 (`optional`) or finite. */
  readonly serves?: Uint8Array;
  readonly forcedIn?: readonly number[];
  readonly forcedOut?: readonly number[];
}

export const FREE = 0;
export const IN = 1;
export const OUT = 2;

/** The problem as the kernel works on it: values of at least 0, every row a limit, counts as numbers. */
export interface SubsetForm {
  readonly facilities: number;
  readonly clients: number;
  /** By facility, then client. */
  readonly value: Float64Array;
  readonly openCost: Float64Array;
  readonly least: number;
  readonly most: number;
  readonly resources: number;
  /** By facility, then resource. */
  readonly use: Float64Array;
  /** By resource, rounding allowance included. */
  readonly limit: Float64Array;
  /** How many clients need replicas that not every facility gives. */
  readonly covered: number;
  readonly replicas: number;
  /** By facility, then such client. */
  readonly serves: Uint8Array;
  /** By facility: FREE, IN or OUT from the start. */
  readonly fixed: Int8Array;
  /** Added to every subset's value. */
  readonly constant: number;
  /** Every subset is worth a whole number. */
  readonly isIntegral: boolean;
}

/** Sums of a few hundred uses in any order differ by less. */
const allowance = (budget: number): number => budget + 1e-9 * Math.max(1, Math.abs(budget));

/** O(facilities * clients). */
export function subsetForm(problem: SubsetProblem): SubsetForm {
  const { facilities, clients } = problem;
  const { value, constant } = shiftedValues(problem);
  const openCost = Float64Array.from({ length: facilities }, (_, i) => problem.openCost?.[i] ?? 0);
  const budget = problem.budget ?? [];
  const resources = budget.length;
  const use = new Float64Array(facilities * resources);
  for (let i = 0; i < facilities; i++)
    for (let j = 0; j < resources; j++) use[i * resources + j] = problem.use?.[j]?.[i] ?? 0;
  const fixed = new Int8Array(facilities);
  for (const i of problem.forcedIn ?? []) fixed[i] = IN;
  for (const i of problem.forcedOut ?? []) fixed[i] = OUT;
  const replicas = Math.max(problem.minReplicas ?? 0, problem.service === 'required' ? 1 : 0);
  return {
    facilities,
    clients,
    value,
    openCost,
    least: Math.max(problem.minCount ?? 0, clients > 0 ? replicas : 0),
    most: Math.min(problem.maxCount ?? facilities, facilities),
    resources,
    use,
    limit: Float64Array.from(budget, allowance),
    ...coverage(problem, replicas),
    replicas,
    fixed,
    constant,
    isIntegral: Number.isInteger(constant) && value.every(Number.isInteger) && openCost.every(Number.isInteger),
  };
}

/** A client that has to be served is worth at least what its worst facility gives: that is taken off, and put back as a constant. */
function shiftedValues({ facilities, clients, value, service }: SubsetProblem) {
  const shifted = new Float64Array(facilities * clients);
  let constant = 0;
  for (let c = 0; c < clients; c++) {
    let worst = service === 'optional' ? 0 : Infinity;
    if (service === 'required')
      for (let i = 0; i < facilities; i++) {
        const each = value[i * clients + c] ?? 0;
        if (each > -Infinity) worst = Math.min(worst, each);
      }
    if (worst === Infinity) worst = 0;
    constant += worst;
    for (let i = 0; i < facilities; i++) shifted[i * clients + c] = Math.max(0, (value[i * clients + c] ?? 0) - worst);
  }
  return { value: shifted, constant };
}

function coverage(problem: SubsetProblem, replicas: number) {
  const { facilities, clients, value, service, serves } = problem;
  const floor = service === 'optional' ? 0 : -Infinity;
  const isServed = (i: number, c: number) =>
    serves === undefined ? (value[i * clients + c] ?? 0) > floor : serves[i * clients + c] === 1;
  const needy: number[] = [];
  const looked = replicas > 0 ? clients : 0;
  for (let c = 0; c < looked; c++) {
    let all = true;
    for (let i = 0; i < facilities && all; i++) all = isServed(i, c);
    if (!all) needy.push(c);
  }
  const table = new Uint8Array(facilities * needy.length);
  for (let i = 0; i < facilities; i++)
    needy.forEach((c, at) => {
      if (isServed(i, c)) table[i * needy.length + at] = 1;
    });
  return { covered: needy.length, serves: table };
}

/** What a subset is worth, summed in one fixed order, so that the same subset always has the same value. */
export function valueOf(form: SubsetForm, members: Iterable<number>): number {
  const { clients, value, openCost } = form;
  const best = new Float64Array(clients);
  let cost = 0;
  for (const i of members) {
    cost += openCost[i] ?? 0;
    for (let c = 0, at = i * clients; c < clients; c++, at++) {
      const each = value[at] ?? 0;
      if (each > (best[c] ?? 0)) best[c] = each;
    }
  }
  let total = 0;
  for (let c = 0; c < clients; c++) total += best[c] ?? 0;
  return form.constant + total - cost;
}
