import { FREE, OUT, type SubsetForm } from './subset-problem.js';

/**
 * The form without facilities that another one can replace in every subset: no client is worth less, no more is used.
 *
 * Of equals the first stays. Only where leaving a facility out is always allowed, so not with a least count above 1 or
 * more than one replica. O(facilities^2 * clients), less as most comparisons end early; what is not looked at once
 * `expired` stays.
 */
export function undominated(form: SubsetForm, expired: () => boolean): SubsetForm {
  if (form.least > 1 || form.replicas > 1) return form;
  const fixed = Int8Array.from(form.fixed);
  for (let i = 0; i < form.facilities && !expired(); i++) {
    if (fixed[i] !== FREE || (form.openCost[i] ?? 0) < 0) continue;
    for (let j = 0; j < form.facilities; j++) {
      if (j === i || fixed[j] !== FREE || !replaces(form, j, i) || (j > i && replaces(form, i, j))) continue;
      fixed[i] = OUT;
      break;
    }
  }
  return { ...form, fixed };
}

function replaces(form: SubsetForm, j: number, i: number): boolean {
  const { clients, value, openCost, resources, use, covered, serves } = form;
  if ((openCost[j] ?? 0) > (openCost[i] ?? 0)) return false;
  return (
    isAtLeast(value, j * clients, i * clients, clients) &&
    isAtLeast(use, i * resources, j * resources, resources) &&
    isAtLeast(serves, j * covered, i * covered, covered)
  );
}

function isAtLeast(table: Float64Array | Uint8Array, a: number, b: number, length: number): boolean {
  for (let k = 0; k < length; k++) if ((table[a + k] ?? 0) < (table[b + k] ?? 0)) return false;
  return true;
}
