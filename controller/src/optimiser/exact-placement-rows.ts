/**
 * Rows of the exact model on copies: where variants live, how many, and what it takes to get there. A projected model
 * has only `addVariants` of them.
 */
import { addSlack, isElastic, type ModelParts, putPowered, putShares, putSlack, rateOf } from './exact-parts.js';
import { bucketed, positions } from './buckets.js';
import type { RowEntry } from './linear-program.js';
import { countOf, pairKey } from './placement.js';

/** x <= sum a, and sum_k service * rate * f <= maxUtil * x. Physics: never left out. */
export function addHosts(parts: ModelParts): void {
  const { problem, builder } = parts;
  for (const pair of parts.pairs) {
    const { d, v, column } = pair;
    builder.put(column, 1);
    putPowered(parts, d, -1);
    builder.closeRow(-Infinity, 0, `on:${d},${v}`);
    putShares(parts, pair, (arc) => arc.service_s * rateOf(parts, arc));
    builder.put(column, -(problem.devices[d]?.maxUtil ?? 0));
    builder.closeRow(-Infinity, 0, `host:${d},${v}`);
  }
}

const pairsOf = ({ pairs, pairStarts }: ModelParts, d: number) => pairs.slice(pairStarts[d] ?? 0, pairStarts[d + 1]);

/** sum_v x <= slots * a. */
export function addSlots(parts: ModelParts): void {
  parts.problem.devices.forEach((device, d) => {
    const pairs = pairsOf(parts, d);
    if (pairs.length === 0) return;
    const upper = pairs.length * countOf(parts.problem, d);
    const slack = addSlack(parts, { group: 'slots', index: d }, { upper, integer: true });
    for (const { column } of pairs) parts.builder.put(column, 1);
    putPowered(parts, d, -device.slots);
    putSlack(parts, slack, -1);
    parts.builder.closeRow(-Infinity, 0, `slots:${d}`);
  });
}

/** sum_v mem * x <= memGiB * a. */
export function addMemory(parts: ModelParts): void {
  parts.problem.devices.forEach((device, d) => {
    const memory = (v: number) => parts.problem.variants[v]?.memGiB ?? 0;
    const pairs = pairsOf(parts, d);
    if (pairs.length === 0) return;
    const upper = countOf(parts.problem, d) * pairs.reduce((total, { v }) => total + memory(v), 0);
    const slack = addSlack(parts, { group: 'memory', index: d }, { upper });
    for (const { v, column } of pairs) parts.builder.put(column, memory(v));
    putPowered(parts, d, -device.memGiB);
    putSlack(parts, slack, -1);
    parts.builder.closeRow(-Infinity, 0, `memory:${d}`);
  });
}

/** h <= sum a and h <= sum of fitting x; sum h >= minReplicas, and over sites sum min(1, sum h) >= minSites. */
export function addReplicas(parts: ModelParts): void {
  const { problem, builder } = parts;
  problem.classes.forEach((each, k) => {
    const minSites = each.minSites ?? 0;
    if (each.minReplicas === 0 && minSites === 0) return;
    const hosts = addHostColumns(parts, k);
    if (each.minReplicas > 0) {
      const shape = { upper: each.minReplicas, integer: true };
      const slack = addSlack(parts, { group: 'replicas', index: k }, shape);
      for (const [, host] of hosts) builder.put(host, 1);
      putSlack(parts, slack, 1);
      builder.closeRow(each.minReplicas, Infinity, `replicas:${k}`);
    }
    if (minSites > 0) addSites(parts, k, minSites, hosts);
  });
}

/** Columns of the devices that host a variant fit for a class: (device, column). */
function addHostColumns(parts: ModelParts, k: number): (readonly [number, number])[] {
  const { problem, builder } = parts;
  const { starts, order } = parts.byClass;
  const hosts: (readonly [number, number])[] = [];
  const end = starts[k + 1] ?? 0;
  for (let p = starts[k] ?? 0; p < end;) {
    const d = parts.arcs[order[p] ?? 0]?.d ?? 0;
    const host = builder.addColumn({ upper: countOf(problem, d) });
    hosts.push([d, host]);
    builder.put(host, 1);
    let last = -1;
    for (; p < end && parts.arcs[order[p] ?? 0]?.d === d; p++) {
      const v = parts.arcs[order[p] ?? 0]?.v ?? 0;
      // Arcs of one variant in several modes are one copy.
      if (v !== last) builder.put(parts.copies[pairKey(problem, d, v)] ?? -1, -1);
      last = v;
    }
    builder.closeRow(-Infinity, 0, `replica-host:${d},${k}`);
    builder.put(host, 1);
    putPowered(parts, d, -1);
    builder.closeRow(-Infinity, 0, `replica-on:${d},${k}`);
  }
  return hosts;
}

/** A site counts once, however many of its devices host; a device without a site is a site of its own. */
function addSites(parts: ModelParts, k: number, minSites: number, hosts: readonly (readonly [number, number])[]): void {
  const { problem, builder } = parts;
  const slack = addSlack(parts, { group: 'replicas', index: k, ofSites: true }, { upper: minSites, integer: true });
  const bySite = new Map<number, number[]>();
  const counted: number[] = [];
  for (const [d, host] of hosts) {
    const site = problem.devices[d]?.site;
    const ofSite = site === undefined ? undefined : bySite.get(site);
    if (site === undefined) counted.push(host);
    else if (ofSite === undefined) bySite.set(site, [host]);
    else ofSite.push(host);
  }
  for (const [s, ofSite] of bySite) {
    const column = builder.addColumn({ upper: 1 });
    counted.push(column);
    builder.put(column, 1);
    for (const host of ofSite) builder.put(host, -1);
    builder.closeRow(-Infinity, 0, `site-host:${s},${k}`);
  }
  for (const column of counted) builder.put(column, 1);
  putSlack(parts, slack, 1);
  builder.closeRow(minSites, Infinity, `sites:${k}`);
}

/** x <= n * t, sum t <= maxVariants, and the strong row sum_d f <= t, which decides how fast this is solved. */
export function addVariants(parts: ModelParts): void {
  const { problem, builder, catalogue } = parts;
  const most = problem.budgets.maxVariants;
  if (most === null) return;
  for (const { v } of parts.pairs) {
    if ((catalogue[v] ?? -1) < 0) catalogue[v] = builder.addColumn({ upper: 1, integer: true });
  }
  for (const pair of parts.pairs) {
    const { d, v, column } = pair;
    const count = countOf(problem, d);
    // Without copies in between, the catalogue itself bounds how busy a variant may be.
    const room = column >= 0 ? count : count * (problem.devices[d]?.maxUtil ?? 0);
    if (column >= 0) builder.put(column, 1);
    else putShares(parts, pair, (arc) => arc.service_s * rateOf(parts, arc));
    builder.put(catalogue[v] ?? -1, -room);
    builder.closeRow(-Infinity, 0, `link:${d},${v}`);
  }
  addStrong(parts);
  const listed = catalogue.filter((column) => column >= 0);
  const slack = addSlack(parts, { group: 'variants', index: undefined }, { upper: listed.length, integer: true });
  for (const column of listed) builder.put(column, 1);
  putSlack(parts, slack, -1);
  builder.closeRow(-Infinity, most, 'variants');
}

function addStrong(parts: ModelParts): void {
  const { builder, arcs, shares, catalogue } = parts;
  const classes = parts.problem.classes.length;
  const cells = parts.problem.variants.length * classes;
  const cell = (i: number) => (arcs[i]?.v ?? 0) * classes + (arcs[i]?.k ?? 0);
  const { starts, order } = bucketed(positions(arcs.length), cells, cell);
  for (let c = 0; c < cells; c++) {
    let isEmpty = true;
    for (let p = starts[c] ?? 0; p < (starts[c + 1] ?? 0); p++) {
      const share = shares[order[p] ?? 0] ?? -1;
      if (share < 0) continue;
      builder.put(share, 1);
      isEmpty = false;
    }
    if (isEmpty) continue;
    const v = Math.floor(c / classes);
    builder.put(catalogue[v] ?? -1, -1);
    builder.closeRow(-Infinity, 0, `strong:${v},${c % classes}`);
  }
}

/** z >= x - x0, sum mem * z <= moveGiB; every newly loaded GiB costs movePenaltyPerGiB points. */
export function addMove(parts: ModelParts): void {
  const { problem, builder } = parts;
  const budget = problem.budgets.moveGiB;
  const penalty = isElastic(parts) ? 0 : problem.movePenaltyPerGiB;
  if (budget === null && penalty === 0) return;
  const held = new Map<number, number>();
  for (const [d, v] of problem.current) {
    const key = pairKey(problem, d, v);
    held.set(key, (held.get(key) ?? 0) + 1);
  }
  const loads: RowEntry[] = [];
  let most = 0;
  for (const { d, v, column } of parts.pairs) {
    const memory = problem.variants[v]?.memGiB ?? 0;
    const fresh = builder.addColumn({ cost: -penalty * memory, upper: countOf(problem, d) });
    builder.put(column, 1);
    builder.put(fresh, -1);
    builder.closeRow(-Infinity, held.get(pairKey(problem, d, v)) ?? 0, `load:${d},${v}`);
    loads.push([fresh, memory]);
    most += memory * countOf(problem, d);
  }
  if (budget === null) return;
  const slack = addSlack(parts, { group: 'move', index: undefined }, { upper: most });
  for (const [column, memory] of loads) builder.put(column, memory);
  putSlack(parts, slack, -1);
  builder.closeRow(-Infinity, budget, 'move');
}
