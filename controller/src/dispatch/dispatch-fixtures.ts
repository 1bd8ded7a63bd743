/** Small builders for tests and benchmarks of dispatch: a fleet, a catalogue, a gate and costs that are easy to read. */
import type { Expert, Variant } from '@fleetgate/shared/catalogue/expert';
import {
  boardId,
  classId,
  type DeviceId,
  deviceId,
  type ExpertId,
  expertId,
  planId,
  type VariantId,
  variantId,
} from '@fleetgate/shared/ids';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import type { Residency } from '@fleetgate/shared/protocol/twin';
import { joules, milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { Subject } from 'rxjs';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { Device, FleetChange } from '../fleet/device.js';
import type { Gate } from '../gating/gate.js';
import type { CostEstimate, CostEstimator, CostProfile, ProfiledCosts } from '../telemetry/cost.js';
import type { DispatchPolicy } from './dispatch-policy.js';
import type { Prompt } from './prompt.js';

const SHA = 'a'.repeat(64);

export function aVariant(expert: string, suffix = 'q8_0', contextTokens = 2048): Variant {
  return {
    id: variantId(`${expert}-${suffix}`),
    expertId: expertId(expert),
    sha256: SHA,
    sizeBytes: 1_000_000,
    quantisation: 'Q8_0',
    facts: {
      architecture: 'llama',
      parameters: 1_000_000,
      contextTokens,
      layers: 4,
      embeddingLength: 64,
      slabsPerLayer: 0,
      slabsPerToken: 0,
      hasChatTemplate: true,
      quantisation: 'Q8_0',
      fileBytes: 1_000_000,
      memoryBytes: 4_000_000,
    },
  };
}

export function anExpert(name: string, variants = [aVariant(name)], bitsPerByte: Record<string, number> = {}): Expert {
  return {
    id: expertId(name),
    title: name,
    description: `${name} expert`,
    domains: [name],
    licence: { spdx: 'Apache-2.0' },
    origin: [],
    stop: [],
    bitsPerByte,
    variants,
    addedAtMs: 1_700_000_000_000,
  };
}

export function aCatalogue(experts: readonly Expert[]): Catalogue {
  return {
    experts: new Map(experts.map((expert) => [expert.id, expert])),
    variants: new Map(experts.flatMap(({ variants }) => variants.map((variant) => [variant.id, variant] as const))),
  };
}

export interface DeviceOptions {
  readonly presence?: Device['presence'];
  readonly epoch?: number;
  /** Of the session in which it last said what it has; by default the present one. */
  readonly reportedEpoch?: number;
  readonly concurrency?: number;
  readonly engine?: 'ready' | 'restarting' | 'down';
  readonly abilities?: readonly string[];
  readonly state?: 'starting' | 'active' | 'standby' | 'draining';
  readonly residency?: Residency;
  readonly progress?: number;
  readonly queuedJobs?: number;
  readonly runningJobs?: number;
  readonly lastSampleAt?: number;
}

/** A device that hosts `variants`. */
export function aDevice(name: string, variants: readonly string[], options: DeviceOptions = {}): Device {
  const board = boardId('linux-x86');
  const { residency = 'resident', progress } = options;
  return Object.freeze({
    id: deviceId(name),
    board,
    enrolledAt: unixMs(0),
    presence: options.presence ?? 'online',
    epoch: options.epoch ?? 1,
    lastSeen: unixMs(0),
    leaseExpires: undefined,
    desired: undefined,
    reported: {
      v: PROTOCOL_VERSION,
      epoch: options.reportedEpoch ?? options.epoch ?? 1,
      observedGeneration: 1,
      settled: true,
      state: options.state ?? 'active',
      board,
      agentVersion: '0',
      host: { id: 'h', os: 'linux', arch: 'x64', cpu: 'c', cores: 2, memoryBytes: 1 },
      engine: {
        kind: 'scripted',
        version: '0',
        state: options.engine ?? 'ready',
        ...(options.abilities === undefined ? {} : { abilities: [...options.abilities] }),
      },
      memory: { budgetBytes: 1, usedBytes: 0 },
      storage: { freeBytes: 1 },
      slots: 4,
      concurrency: options.concurrency ?? 1,
      power: { source: 'modelled', from: 'board profile', idleW: 2, loadW: 10, standbyW: 1 },
      variants: variants.map((id) => ({
        variantId: variantId(id),
        residency,
        ...(progress === undefined ? {} : { progress }),
      })),
      measurements: [],
    },
    last: { queuedJobs: options.queuedJobs ?? 0, runningJobs: options.runningJobs ?? 0 },
    lastSampleAt: options.lastSampleAt === undefined ? undefined : unixMs(options.lastSampleAt),
  } satisfies Device);
}

/** A fleet registry's read side that a test can change. */
export class FixtureFleet {
  readonly view = new Map<DeviceId, Device>();
  readonly changes$ = new Subject<FleetChange>();

  constructor(devices: readonly Device[]) {
    for (const device of devices) this.view.set(device.id, device);
  }

  put(device: Device): void {
    const before = this.view.get(device.id);
    this.view.set(device.id, device);
    const at = unixMs(0);
    const presence = {
      v: PROTOCOL_VERSION,
      state: device.presence === 'online' ? 'online' : 'offline',
      epoch: device.epoch,
      reason: device.presence === 'online' ? 'connected' : 'will',
      agentVersion: '0',
    } as const;
    this.changes$.next({ event: { kind: 'presence', deviceId: device.id, presence, at }, before, after: device });
  }

  offline(name: string): void {
    const device = this.view.get(deviceId(name));
    if (device !== undefined) this.put(Object.freeze({ ...device, presence: 'offline' }));
  }

  /** It is back, and has said again what it has. */
  online(name: string): void {
    const device = this.view.get(deviceId(name));
    if (device?.reported === undefined) return;
    const epoch = device.epoch + 1;
    this.put(Object.freeze({ ...device, presence: 'online', epoch, reported: { ...device.reported, epoch } }));
  }
}

/** A plan that places on each device what the fixture fleet has there. */
export function aPolicy(devices: Iterable<Device>, prices: Partial<DispatchPolicy> = {}): DispatchPolicy {
  const placements = new Map<DeviceId, ReadonlySet<VariantId>>();
  for (const device of devices) {
    placements.set(device.id, new Set(device.reported?.variants.map((variant) => variant.variantId)));
  }
  return {
    planId: planId('plan-1'),
    placements,
    qualityPerJouleByClass: new Map(),
    qualityPerJoule: 0,
    qualityPerSecond: new Map(),
    limits: new Map(),
    ...prices,
  };
}

/** A gate that gives every prompt the same qualities. */
export function aGate(qualities: Readonly<Record<string, number>>): Gate {
  const experts = new Map<ExpertId, { quality: number; sd: number; outputTokens: number }>(
    Object.entries(qualities).map(([name, quality]) => [expertId(name), { quality, sd: 0.05, outputTokens: 40 }]),
  );
  const anyClass = classId('any');
  return {
    experts: [...experts.keys()],
    classes: [anyClass],
    trainedOn: 1,
    score: (prompt) => ({ classId: anyClass, promptTokens: Math.max(1, Math.ceil(prompt.length / 4)), experts }),
    classQuality: (_class, expert) => experts.get(expert),
  };
}

export function aCost(latencyMs: number, energyJ: number): CostEstimate {
  return {
    latency: milliseconds(latencyMs),
    latencySd: milliseconds(latencyMs / 10),
    firstToken: milliseconds(latencyMs / 5),
    energy: joules(energyJ),
    energySd: joules(energyJ / 10),
    basis: 'measured',
  };
}

/** Costs by a formula that is linear in tokens, of which nothing is learned. */
export function costsBy(estimate: (...of: Parameters<CostEstimator['estimate']>) => CostEstimate): ProfiledCosts {
  const costs: ProfiledCosts = {
    estimate,
    profileOf: (device, variant) => {
      const of = (promptTokens: number, outputTokens: number) =>
        estimate(device, variant, { promptTokens, outputTokens });
      const [base, prompt, output] = [of(0, 0), of(1, 0), of(0, 1)];
      return {
        ...{ baseMs: base.latency, promptMs: prompt.latency - base.latency, outputMs: output.latency - base.latency },
        ...{ baseJ: base.energy, promptJ: prompt.energy - base.energy, outputJ: output.energy - base.energy },
        estimate: (workload) => estimate(device, variant, workload),
      };
    },
    learnedOf: () => costs,
    observeMeasurement: () => {},
    observeJob: () => {},
  };
  return costs;
}

/** The same cost everywhere unless `costs` names a device. Remembers what it was shown. */
export class FixtureCosts implements ProfiledCosts {
  readonly observed: { readonly device: DeviceId; readonly variant: VariantId }[] = [];
  readonly #costs: Readonly<Record<string, CostEstimate>>;

  constructor(costs: Readonly<Record<string, CostEstimate>> = {}) {
    this.#costs = costs;
  }

  estimate(device: DeviceId): CostEstimate {
    return this.#costs[device] ?? aCost(1000, 5);
  }

  profileOf(device: DeviceId): CostProfile {
    const cost = this.estimate(device);
    const { energy, latency } = cost;
    const perToken = { promptMs: 0, outputMs: 0, promptJ: 0, outputJ: 0 };
    return { baseMs: latency, baseJ: energy, ...perToken, estimate: () => cost };
  }

  learnedOf(): object {
    return this;
  }

  observeMeasurement(): void {}

  observeJob(device: DeviceId, variant: VariantId): void {
    this.observed.push({ device, variant });
  }
}

export function aPrompt(model = 'auto', more: Partial<Prompt> = {}): Prompt {
  return {
    endpoint: '/v1/chat/completions',
    model,
    mode: undefined,
    input: { kind: 'chat', messages: [{ role: 'user', content: 'what is two and two?' }] },
    sampling: { maxTokens: 64, temperature: 0, topP: 1, stop: [] },
    limits: { energy: undefined, latency: undefined },
    ...more,
  };
}
