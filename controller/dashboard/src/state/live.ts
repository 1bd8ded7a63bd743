/**
 * What the page knows of the fleet, and how each live event changes it. Pure: state and event in, new state out.
 * Unchanged parts keep their identity, so that a view can tell what it has to draw again.
 */
import type {
  Budgets,
  DeviceView,
  ExpertView,
  LiveEvent,
  PlanView,
  RequestView,
  StatusView,
  TelemetryBody,
} from '@fleetgate/shared/api/operations';

type DeviceEventFrame = Extract<LiveEvent, { type: 'device-event' }>;
export type DeviceNote = DeviceEventFrame['event'];

export interface PowerSample {
  readonly atMs: number;
  readonly powerW: number;
}

export interface FleetState {
  readonly status: StatusView | null;
  /** By id, in the order of their ids. */
  readonly devices: ReadonlyMap<string, DeviceView>;
  readonly experts: readonly ExpertView[];
  /** Newest first. */
  readonly plans: readonly PlanView[];
  readonly budgets: Budgets | null;
  /** Newest first. */
  readonly requests: readonly RequestView[];
  /** Of the last `HISTORY_MS`, oldest first, by device. */
  readonly power: ReadonlyMap<string, readonly PowerSample[]>;
  /** What devices told outside telemetry, newest first, by device. */
  readonly notes: ReadonlyMap<string, readonly DeviceNote[]>;
}

/** Everything that the REST API answers at one (re)connection. */
export interface Snapshot {
  readonly status: StatusView;
  readonly devices: readonly DeviceView[];
  readonly experts: readonly ExpertView[];
  readonly plans: readonly PlanView[];
  readonly budgets: Budgets;
  readonly requests: readonly RequestView[];
}

export const HISTORY_MS = 15 * 60_000;
const MAX_PLANS = 30;
export const MAX_REQUESTS = 500;
const MAX_NOTES = 5;
/** Closer samples add nothing that a chart of 15 minutes could show. */
const MIN_SAMPLE_GAP_MS = 900;

export const emptyFleet: FleetState = {
  status: null,
  devices: new Map(),
  experts: [],
  plans: [],
  budgets: null,
  requests: [],
  power: new Map(),
  notes: new Map(),
};

/** Replaces what the snapshot covers; history and notes of devices that are still there stay. */
export function applySnapshot(state: FleetState, snapshot: Snapshot): FleetState {
  const devices = byId(snapshot.devices);
  const known = <V>(map: ReadonlyMap<string, V>): Map<string, V> => new Map([...map].filter(([id]) => devices.has(id)));
  return {
    status: snapshot.status,
    devices,
    experts: snapshot.experts,
    plans: newestFirst(snapshot.plans, (plan) => plan.createdAtMs, MAX_PLANS),
    budgets: snapshot.budgets,
    requests: newestFirst(snapshot.requests, (request) => request.receivedAtMs, MAX_REQUESTS),
    power: known(state.power),
    notes: known(state.notes),
  };
}

export function applyEvents(state: FleetState, events: readonly LiveEvent[]): FleetState {
  let next = state;
  for (const event of events) next = applyEvent(next, event);
  return next;
}

export function applyEvent(state: FleetState, event: LiveEvent): FleetState {
  switch (event.type) {
    case 'device':
      return { ...state, devices: byId([...without(state.devices, event.device.id).values(), event.device]) };
    case 'device-removed':
      return {
        ...state,
        devices: without(state.devices, event.id),
        power: without(state.power, event.id),
        notes: without(state.notes, event.id),
      };
    case 'telemetry':
      return applyTelemetry(state, event);
    case 'plan':
      return { ...state, plans: withPlan(state.plans, event.plan) };
    case 'budgets':
      return { ...state, budgets: event.budgets };
    case 'request': {
      const others = state.requests.filter((request) => request.id !== event.request.id);
      return {
        ...state,
        requests: newestFirst([event.request, ...others], (request) => request.receivedAtMs, MAX_REQUESTS),
      };
    }
    case 'device-event': {
      if (!state.devices.has(event.deviceId)) return state;
      const notes = [event.event, ...(state.notes.get(event.deviceId) ?? [])].slice(0, MAX_NOTES);
      return { ...state, notes: new Map(state.notes).set(event.deviceId, notes) };
    }
    case 'status':
      return { ...state, status: event.status };
    default:
      // An event type of a newer controller.
      return state;
  }
}

function applyTelemetry(state: FleetState, event: Extract<LiveEvent, { type: 'telemetry' }>): FleetState {
  const device = state.devices.get(event.deviceId);
  if (device === undefined || (device.lastSampleMs !== null && event.atMs < device.lastSampleMs)) return state;
  const updated: DeviceView = {
    ...device,
    last: { ...device.last, ...event.last },
    lastSampleMs: event.atMs,
    lastSeenMs: Math.max(device.lastSeenMs ?? 0, event.atMs),
  };
  const devices = new Map(state.devices).set(device.id, updated);
  const powerW = event.last.powerW;
  if (powerW === undefined) return { ...state, devices };
  const samples = withSample(state.power.get(device.id) ?? [], { atMs: event.atMs, powerW });
  return { ...state, devices, power: new Map(state.power).set(device.id, samples) };
}

/** Puts stored telemetry before the live samples of its device. */
export function applyHistory(state: FleetState, body: TelemetryBody): FleetState {
  if (body.metric !== 'powerW' || !state.devices.has(body.device)) return state;
  const live = state.power.get(body.device) ?? [];
  const firstLive = live[0]?.atMs ?? Infinity;
  const stored = body.points
    .map((point) => ({ atMs: point.atMs, powerW: point.mean }))
    .filter((sample) => sample.atMs < firstLive)
    .sort((a, b) => a.atMs - b.atMs);
  return { ...state, power: new Map(state.power).set(body.device, [...stored, ...live]) };
}

function withSample(samples: readonly PowerSample[], sample: PowerSample): readonly PowerSample[] {
  const previous = samples.at(-1);
  if (previous !== undefined && sample.atMs - previous.atMs < MIN_SAMPLE_GAP_MS) return samples;
  const from = sample.atMs - HISTORY_MS;
  return [...samples.filter((each) => each.atMs >= from), sample];
}

/** One plan is active at a time: an older active one becomes superseded when a newer one takes over. */
function withPlan(plans: readonly PlanView[], plan: PlanView): readonly PlanView[] {
  const others = plans
    .filter((other) => other.id !== plan.id)
    .map((other): PlanView =>
      plan.state === 'active' && other.state === 'active' ? { ...other, state: 'superseded' } : other,
    );
  return newestFirst([plan, ...others], (each) => each.createdAtMs, MAX_PLANS);
}

function byId(devices: readonly DeviceView[]): ReadonlyMap<string, DeviceView> {
  const ordered = [...devices].sort((a, b) => (a.id < b.id ? -1 : 1));
  return new Map(ordered.map((device) => [device.id, device]));
}

function without<V>(map: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> {
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}

function newestFirst<T>(items: readonly T[], at: (item: T) => number, most: number): readonly T[] {
  return [...items].sort((a, b) => at(b) - at(a)).slice(0, most);
}

export function activePlan(state: FleetState): PlanView | null {
  return state.plans.find((plan) => plan.state === 'active') ?? null;
}

/** The newest plan when it was rejected, mostly because no placement meets its budgets; otherwise null. */
export function refusedPlan(state: FleetState): PlanView | null {
  const newest = state.plans[0];
  return newest !== undefined && newest.state === 'rejected' ? newest : null;
}

/** The expert that a variant builds, by the catalogue; by the variant's name when the catalogue lacks it. */
export function expertOf(state: FleetState, variantId: string): string {
  const found = state.experts.find((expert) => expert.variants.some((variant) => variant.id === variantId));
  return found?.id ?? variantId.replace(/-(q\d\w*|f16|f32|bf16)$/i, '');
}
