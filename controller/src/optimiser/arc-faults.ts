/**
 * The check of `arcs` by hand: a fleet has hundreds of thousands of them, and a general schema checker copies each one.
 * Says the same as `problemArcSchema` does.
 */

import { LARGEST_FIGURE, LARGEST_QUALITY, SMALLEST_FIGURE } from './problem.js';
import { shownNumber, shownValue } from './shown-value.js';

/** Faults found, at most `MOST_FAULTS` of them in words. */
export interface ArcFaults {
  readonly texts: readonly string[];
  readonly count: number;
}

const MOST_FAULTS = 8;

type Demand = 'index' | 'quality' | 'positive' | 'amount';

const IN_WORDS: Readonly<Record<Demand, string>> = {
  index: 'a whole number from 0',
  quality: `a number from -${LARGEST_QUALITY} to ${LARGEST_QUALITY}`,
  positive: `a number from ${shownNumber(SMALLEST_FIGURE)} to ${shownNumber(LARGEST_FIGURE)}`,
  amount: `a number from 0 to ${shownNumber(LARGEST_FIGURE)}`,
};

const FIELDS: readonly { readonly name: string; readonly demand: Demand; readonly optional?: true }[] = [
  { name: 'd', demand: 'index' },
  { name: 'v', demand: 'index' },
  { name: 'k', demand: 'index' },
  { name: 'm', demand: 'index', optional: true },
  { name: 'quality', demand: 'quality' },
  { name: 'service_s', demand: 'positive' },
  { name: 'energy_J', demand: 'amount' },
  { name: 'latency_s', demand: 'amount' },
  { name: 'p95_s', demand: 'amount', optional: true },
];

/** What is wrong with the entries of `arcs`, as `arcs.17.service_s: expected a number above 0, got -3`. O(arcs). */
export function arcFaults(arcs: unknown): ArcFaults {
  if (!Array.isArray(arcs)) return { texts: [`arcs: expected a list, got ${shownValue(arcs)}`], count: 1 };
  const texts: string[] = [];
  let count = 0;
  const note = (text: string) => {
    count++;
    if (texts.length < MOST_FAULTS) texts.push(text);
  };
  for (let i = 0; i < arcs.length; i++) {
    const arc: unknown = arcs[i];
    if (isSound(arc)) continue;
    if (!isRecord(arc)) note(`arcs.${i}: expected an object, got ${shownValue(arc)}`);
    else eachFieldFault(arc, (field) => note(`arcs.${i}.${field}`));
  }
  return { texts, count };
}

const isIndex = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isBetween = (value: unknown, least: number, most: number): boolean =>
  typeof value === 'number' && value >= least && value <= most;
const isAmount = (value: unknown): boolean => isBetween(value, 0, LARGEST_FIGURE);
const isPositive = (value: unknown): boolean => isBetween(value, SMALLEST_FIGURE, LARGEST_FIGURE);
const isQuality = (value: unknown): boolean => isBetween(value, -LARGEST_QUALITY, LARGEST_QUALITY);

/** Reads each field by its name, so that the engine keeps the quick access of objects of one shape. */
function isSound(arc: unknown): boolean {
  if (!isRecord(arc)) return false;
  const { d, v, k, m, quality, service_s, energy_J, latency_s, p95_s } = arc;
  return (
    isIndex(d) &&
    isIndex(v) &&
    isIndex(k) &&
    (m === undefined || isIndex(m)) &&
    isQuality(quality) &&
    isPositive(service_s) &&
    isAmount(energy_J) &&
    isAmount(latency_s) &&
    (p95_s === undefined || isAmount(p95_s))
  );
}

function eachFieldFault(arc: Readonly<Record<string, unknown>>, note: (text: string) => void): void {
  for (const { name, demand, optional } of FIELDS) {
    const value = arc[name];
    if (value === undefined && optional === true) continue;
    if (!meets(value, demand)) note(`${name}: expected ${IN_WORDS[demand]}, got ${shownValue(value)}`);
  }
}

function meets(value: unknown, demand: Demand): boolean {
  switch (demand) {
    case 'index':
      return isIndex(value);
    case 'quality':
      return isQuality(value);
    case 'positive':
      return isPositive(value);
    case 'amount':
      return isAmount(value);
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
