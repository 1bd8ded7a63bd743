/**
 * The check of `arcs` by hand: a fleet has hundreds of thousands of them, and a general schema checker copies each one.
 * Says the same as `problemArcSchema` does.
 */

/** Faults found, at most `MOST_FAULTS` of them in words. */
export interface ArcFaults {
  readonly texts: readonly string[];
  readonly count: number;
}

const MOST_FAULTS = 8;

type Demand = 'a whole number from 0' | 'a number' | 'a number above 0' | 'a number from 0';

const FIELDS: readonly { readonly name: string; readonly demand: Demand; readonly optional?: true }[] = [
  { name: 'd', demand: 'a whole number from 0' },
  { name: 'v', demand: 'a whole number from 0' },
  { name: 'k', demand: 'a whole number from 0' },
  { name: 'm', demand: 'a whole number from 0', optional: true },
  { name: 'quality', demand: 'a number' },
  { name: 'service_s', demand: 'a number above 0' },
  { name: 'energy_J', demand: 'a number from 0' },
  { name: 'latency_s', demand: 'a number from 0' },
  { name: 'p95_s', demand: 'a number from 0', optional: true },
];

/** What is wrong with the entries of `arcs`, as `arcs.17.service_s: expected a number above 0, got -3`. O(arcs). */
export function arcFaults(arcs: unknown): ArcFaults {
  if (!Array.isArray(arcs)) return { texts: [`arcs: expected a list, got ${shown(arcs)}`], count: 1 };
  const texts: string[] = [];
  let count = 0;
  const note = (text: string) => {
    count++;
    if (texts.length < MOST_FAULTS) texts.push(text);
  };
  for (let i = 0; i < arcs.length; i++) {
    const arc: unknown = arcs[i];
    if (isSound(arc)) continue;
    if (!isRecord(arc)) note(`arcs.${i}: expected an object, got ${shown(arc)}`);
    else eachFieldFault(arc, (field) => note(`arcs.${i}.${field}`));
  }
  return { texts, count };
}

const isIndex = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
// A number too large for a double is Infinity after parsing.
const isAtLeastZero = (value: unknown): boolean => typeof value === 'number' && value >= 0 && value < Infinity;

/** Reads each field by its name, so that the engine keeps the quick access of objects of one shape. */
function isSound(arc: unknown): boolean {
  if (!isRecord(arc)) return false;
  const { d, v, k, m, quality, service_s, energy_J, latency_s, p95_s } = arc;
  return (
    isIndex(d) &&
    isIndex(v) &&
    isIndex(k) &&
    (m === undefined || isIndex(m)) &&
    Number.isFinite(quality) &&
    isAtLeastZero(service_s) &&
    service_s !== 0 &&
    isAtLeastZero(energy_J) &&
    isAtLeastZero(latency_s) &&
    (p95_s === undefined || isAtLeastZero(p95_s))
  );
}

function eachFieldFault(arc: Readonly<Record<string, unknown>>, note: (text: string) => void): void {
  for (const { name, demand, optional } of FIELDS) {
    const value = arc[name];
    if (value === undefined && optional === true) continue;
    if (!meets(value, demand)) note(`${name}: expected ${demand}, got ${shown(value)}`);
  }
}

function meets(value: unknown, demand: Demand): boolean {
  switch (demand) {
    case 'a whole number from 0':
      return isIndex(value);
    case 'a number':
      return Number.isFinite(value);
    case 'a number above 0':
      return isAtLeastZero(value) && value !== 0;
    case 'a number from 0':
      return isAtLeastZero(value);
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}
