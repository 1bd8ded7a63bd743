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
  const { facilities, resources, limit, openCost } = form;
  const levels = Array.from({ length: facilities + 1 }, () => ({
    best: new Float64Array(form.clients),
    used: new Float64Array(resources),
    replicas: new Int32Array(form.covered),
  }));
  const members: number[] = [];
  const extend = (next: number, cost: number): void => {
    const level = levels[members.length];
    const above = levels[members.length + 1];
    if (level === undefined) return;
    if (isAllowed(form, members, level.replicas)) {
      let total = form.constant - cost;
      for (const each of level.best) total += each;
      visit(members, total);
    }
    if (above === undefined || members.length === form.most) return;
    for (let i = next; i < facilities; i++) {
      if (form.fixed[i] === OUT) continue;
      addRow(above.used, level.used, form.use, i);
      let isOver = false;
      for (let j = 0; j < resources; j++) isOver ||= (above.used[j] ?? 0) > (limit[j] ?? 0);
      if (isOver) continue;
      addRow(above.replicas, level.replicas, form.serves, i);
      raise(above.best, level.best, form.value, i);
      members.push(i);
      extend(i + 1, cost + (openCost[i] ?? 0));
      members.pop();
    }
  };
  extend(0, 0);
}

function isAllowed(form: SubsetForm, members: readonly number[], replicas: Int32Array): boolean {
  if (members.length < form.least) return false;
  for (const count of replicas) if (count < form.replicas) return false;
  return form.fixed.every((side, i) => side !== IN || members.includes(i));
}

type Row = Float64Array | Int32Array | Uint8Array;

function addRow(into: Row, from: Row, table: Row, row: number): void {
  for (let k = 0, at = row * into.length; k < into.length; k++, at++) into[k] = (from[k] ?? 0) + (table[at] ?? 0);
}

function raise(into: Row, from: Row, table: Row, row: number): void {
  for (let k = 0, at = row * into.length; k < into.length; k++, at++) into[k] = Math.max(from[k] ?? 0, table[at] ?? 0);
}
