/** Subset selection by trying everything: the oracle that the kernel is held against. */
import { IN, OUT, type SubsetForm } from './subset-problem.js';

/** The best value of all subsets, one by one; undefined when none is allowed. O(2^n) steps of O(clients). */
export function exhaustiveValue(form: SubsetForm): number | undefined {
  let best: number | undefined;
  eachSubset(form, (_, value) => {
    if (best === undefined || value > best) best = value;
  });
  return best;
}

/**
 * Calls back with every allowed subset and its value. Facilities are added one at a time to what is kept of the subset
 * without them; nothing is cut off but what breaks a budget or the count, which every larger subset breaks too.
 */
export function eachSubset(form: SubsetForm, visit: (members: readonly number[], value: number) => void): void {
  const { facilities, clients, value, openCost, resources, use, limit, covered, serves } = form;
  const best = Array.from({ length: facilities + 1 }, () => new Float64Array(clients));
  const used = Array.from({ length: facilities + 1 }, () => new Float64Array(resources));
  const replicas = Array.from({ length: facilities + 1 }, () => new Int32Array(covered));
  const members: number[] = [];
  const extend = (next: number, cost: number): void => {
    const depth = members.length;
    const isFull = members.length >= form.least && (replicas[depth]?.every((n) => n >= form.replicas) ?? true);
    if (isFull && form.fixed.every((side, i) => side !== IN || members.includes(i)))
      visit(members, form.constant + (best[depth]?.reduce((a, b) => a + b, 0) ?? 0) - cost);
    for (let i = next; i < facilities && depth < form.most; i++) {
      if (form.fixed[i] === OUT) continue;
      used[depth + 1]?.set(used[depth]?.map((total, j) => total + (use[i * resources + j] ?? 0)) ?? []);
      if (used[depth + 1]?.some((total, j) => total > (limit[j] ?? 0)) ?? false) continue;
      best[depth + 1]?.set(best[depth]?.map((most, c) => Math.max(most, value[i * clients + c] ?? 0)) ?? []);
      replicas[depth + 1]?.set(replicas[depth]?.map((n, k) => n + (serves[i * covered + k] ?? 0)) ?? []);
      members.push(i);
      extend(i + 1, cost + (openCost[i] ?? 0));
      members.pop();
    }
  };
  extend(0, 0);
}
