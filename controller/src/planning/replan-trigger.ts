/**
 * When to plan again: the circumstances a plan was last considered for against those of now. Pure and level-triggered:
 * a change that was missed shows at the next look.
 */
import type { Circumstances } from './circumstances.js';

export type TriggerKind =
  | 'first-plan'
  | 'device-lost'
  | 'budget-changed'
  | 'catalogue-changed'
  | 'gate-changed'
  | 'device-joined'
  | 'device-changed'
  | 'cost-drift'
  | 'demand-drift';

export interface Trigger {
  readonly kind: TriggerKind;
  /** For a person: `device joined: pi`. */
  readonly text: string;
}

/** Relative change of a device's memory or power that a plan has to know of. */
const DEVICE_CHANGE = 0.1;
/** Relative change of a placed copy's service time. Measurements repeat within about 10 %. */
const COST_DRIFT = 0.3;
/** Half the requests are of other classes, or there are half as many again. */
const DEMAND_DRIFT = 0.5;
/** Answers of a class are half as long as was planned for, or twice. */
const LENGTH_DRIFT = 0.5;

/** The most urgent reason to plan again; undefined when there is none. `placed` holds `device/variant` of the plan in force. */
export function replanTrigger(
  before: Circumstances | undefined,
  now: Circumstances,
  placed: ReadonlySet<string>,
): Trigger | undefined {
  if (before === undefined) return { kind: 'first-plan', text: 'first plan' };
  const lost = missing(Object.keys(before.devices), now.devices);
  if (lost.length > 0) return { kind: 'device-lost', text: `device lost: ${lost.join(', ')}` };
  if (!sameJson(before.budgets, now.budgets)) return { kind: 'budget-changed', text: 'budget changed' };
  if (!sameJson(before.variants, now.variants)) return { kind: 'catalogue-changed', text: 'catalogue changed' };
  if (before.gate !== now.gate) return { kind: 'gate-changed', text: 'gate changed' };
  const joined = missing(Object.keys(now.devices), before.devices);
  if (joined.length > 0) return { kind: 'device-joined', text: `device joined: ${joined.join(', ')}` };
  return changed(before, now) ?? costDrift(before, now, placed) ?? demandDrift(before, now) ?? lengthDrift(before, now);
}

/** Reasons that come from noisy measurement: they wait longer, and are judged from a fresh baseline after a restart. */
export const isDrift = (kind: TriggerKind): boolean => kind === 'cost-drift' || kind === 'demand-drift';

const missing = (names: readonly string[], from: Readonly<Record<string, unknown>>): string[] =>
  names.filter((name) => from[name] === undefined).sort();

/** Equal as JSON with sorted keys: the order in which a person wrote the budgets is no change. */
function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([x], [y]) => (x < y ? -1 : 1))
      .map(([key, entry]) => [key, sorted(entry)]),
  );
}

const relativeChange = (a: number, b: number): number => Math.abs(a - b) / Math.max(1e-9, Math.abs(a), Math.abs(b));

function changed(before: Circumstances, now: Circumstances): Trigger | undefined {
  const different = Object.entries(now.devices).filter(([id, device]) => {
    const old = before.devices[id];
    if (old === undefined) return false;
    const moved = Math.max(
      relativeChange(old.memoryBytes, device.memoryBytes),
      relativeChange(old.idleW, device.idleW),
      relativeChange(old.standbyW, device.standbyW),
    );
    return old.slots !== device.slots || old.measured < device.measured || moved > DEVICE_CHANGE;
  });
  const ids = different.map(([id]) => id).sort();
  return ids.length === 0 ? undefined : { kind: 'device-changed', text: `device changed: ${ids.join(', ')}` };
}

function costDrift(before: Circumstances, now: Circumstances, placed: ReadonlySet<string>): Trigger | undefined {
  const drifted = [...placed].filter((pair) => {
    const [old, fresh] = [before.costs[pair], now.costs[pair]];
    return old !== undefined && fresh !== undefined && relativeChange(old, fresh) > COST_DRIFT;
  });
  return drifted.length === 0 ? undefined : { kind: 'cost-drift', text: `cost drift: ${drifted.sort().join(', ')}` };
}

function demandDrift(before: Circumstances, now: Circumstances): Trigger | undefined {
  const classes = new Set([...Object.keys(before.demand), ...Object.keys(now.demand)]);
  let distance = 0;
  for (const id of classes) distance += Math.abs((before.demand[id] ?? 0) - (now.demand[id] ?? 0));
  const total = (demand: Readonly<Record<string, number>>) =>
    Object.values(demand).reduce((sum, rate) => sum + rate, 0);
  const scale = Math.max(1e-9, total(before.demand), total(now.demand));
  return distance / scale > DEMAND_DRIFT ? { kind: 'demand-drift', text: 'demand drift' } : undefined;
}

function lengthDrift(before: Circumstances, now: Circumstances): Trigger | undefined {
  const drifted = Object.entries(now.answers).filter(([id, factor]) => {
    const old = before.answers[id];
    return old !== undefined && relativeChange(old, factor) > LENGTH_DRIFT;
  });
  const ids = drifted.map(([id]) => id).sort();
  return ids.length === 0 ? undefined : { kind: 'demand-drift', text: `answers of another length: ${ids.join(', ')}` };
}
