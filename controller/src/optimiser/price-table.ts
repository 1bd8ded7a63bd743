import type { Prices } from './certificate.js';

/** Sizes of the index spaces that price names use. */
export interface PriceSizes {
  readonly pools: number;
  readonly modes: number;
  readonly variants: number;
  readonly classes: number;
  readonly sites: number;
}

/** How the two indices of a group's names are bounded; a group not listed here has no price. */
const SHAPES: Readonly<Record<string, readonly (keyof PriceSizes)[]>> = {
  power: [],
  move: [],
  served: ['classes'],
  floor: ['classes'],
  latency: ['classes'],
  energy: ['classes'],
  replicas: ['classes'],
  sites: ['classes'],
  sitepower: ['sites'],
  network: ['sites'],
  slots: ['pools'],
  memory: ['pools'],
  modes: ['pools'],
  strong: ['variants', 'classes'],
  devpower: ['pools', 'modes'],
  battery: ['pools', 'modes'],
  host: ['pools', 'variants'],
  on: ['pools', 'variants'],
  link: ['pools', 'variants'],
  load: ['pools', 'variants'],
  'replica-on': ['pools', 'classes'],
  'replica-host': ['pools', 'classes'],
  'site-host': ['sites', 'classes'],
};

/** The objective is at most 1000 points: beyond this a price only makes sums of which rounding leaves nothing true. */
const LARGEST = 1e9;

/**
 * Prices by group as dense rows: `at(group)[i * columns + j]`. Names that no group has, indices out of range and values
 * that are not above 0, or too large to reckon with, count as 0, which keeps every bound made of them true.
 */
export class PriceTable {
  readonly #rows = new Map<string, Float64Array>();

  constructor(prices: Prices, sizes: PriceSizes) {
    for (const [group, shape] of Object.entries(SHAPES)) {
      this.#rows.set(group, new Float64Array(shape.reduce((size, each) => size * sizes[each], 1)));
    }
    for (const [name, value] of Object.entries(prices)) {
      const [group = '', indices = ''] = name.split(':');
      const shape = SHAPES[group];
      const row = this.#rows.get(group);
      if (shape === undefined || row === undefined || !(value > 0) || value > LARGEST) continue;
      const [i = 0, j = 0] = indices === '' ? [] : indices.split(',').map(Number);
      const width = shape[1] === undefined ? 1 : sizes[shape[1]];
      const isKnown = shape.length === 0 || (i < sizes[shape[0] ?? 'pools'] && (shape.length === 1 || j < width));
      if (isKnown) row[i * width + j] = value;
    }
  }

  at(group: string): Float64Array {
    return this.#rows.get(group) ?? new Float64Array(0);
  }
}
