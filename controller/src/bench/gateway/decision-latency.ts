import { systemClock } from '@fleetgate/shared/clock';
import { classId, deviceId, expertId, jobId, planId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { systemRandom } from '@fleetgate/shared/random';
import { milliseconds, watts } from '@fleetgate/shared/units/quantity';
import { EMPTY } from 'rxjs';

import { BudgetControl } from '../../dispatch/control/budget-control.js';
import { DISPATCH_DEFAULTS } from '../../dispatch/dispatch-config.js';
import {
  aCatalogue,
  aDevice,
  aGate,
  anExpert,
  aPolicy,
  aPrompt,
  FixtureFleet,
} from '../../dispatch/dispatch-fixtures.js';
import type { DispatcherParts } from '../../dispatch/dispatcher-parts.js';
import { decideRequest } from '../../dispatch/decide-request.js';
import { DispatchStats } from '../../dispatch/dispatch-stats.js';
import { JobRuns } from '../../dispatch/job-runs.js';
import { MemoryLedger } from '../../dispatch/memory-ledger.js';
import { openRequest } from '../../dispatch/open-request.js';
import { jobOf } from '../../dispatch/prompt.js';
import { CostModel } from '../../telemetry/cost-model.js';
import { WorkloadModel } from '../../telemetry/workload-model.js';
import { type Distribution, distributionOf } from '../distribution.js';

const REPLICAS = 1000;
const PER_DEVICE = 4;
const EXPERTS = 40;
const WARM_UP = 2_000;
const DECISIONS = 5_000;

/**
 * How long one decision takes that has 1,000 placed replicas to choose from, ms: costs learned, budgets priced, every other
 * device at work.
 */
export function decisionLatency(): Distribution {
  const parts = aLargeFleet();
  const runs = atWork(parts);
  const times: number[] = [];
  for (let at = 0; at < WARM_UP + DECISIONS; at++) {
    const request = openRequest(parts, aPrompt());
    const started = performance.now();
    decideRequest(parts, runs, request);
    if (at >= WARM_UP) times.push(performance.now() - started);
  }
  runs.close();
  return distributionOf(times);
}

function aLargeFleet(): DispatcherParts {
  const names = Array.from({ length: EXPERTS }, (_, at) => `expert-${at}`);
  const catalogue = aCatalogue(names.map((name) => anExpert(name)));
  const devices = Array.from({ length: REPLICAS / PER_DEVICE }, (_, at) =>
    aDevice(
      `device-${at}`,
      Array.from({ length: PER_DEVICE }, (_unused, nth) => `expert-${(at * PER_DEVICE + nth) % EXPERTS}-q8_0`),
    ),
  );
  const costs = new CostModel({ boardOf: () => undefined, variantOf: (id) => catalogue.variants.get(id) });
  for (const [at, device] of devices.entries()) {
    for (const { variantId } of device.reported?.variants ?? []) {
      costs.observeMeasurement(device.id, {
        ...{ variantId, sha256: 'a'.repeat(64), relativeSd: 0.1, energySource: 'measured' },
        ...{ prefillTokensPerS: 400 + at, decodeTokensPerS: 20 + (at % 50) },
        ...{ prefillJPerToken: 0.01, decodeJPerToken: 0.2, overheadMs: 2, loadMs: 1000, memoryBytes: 2 ** 24 },
        measuredAtMs: 1,
      });
    }
  }
  const anyClass = classId('any');
  const facts = {
    ...{ requestPower: watts(100), plannedRate: 10, utilisationCap: 0.8, powerPrice: 0.01 },
    classes: new Map([
      [
        anyClass,
        {
          ...{ weight: 1, latencyMean: milliseconds(5000), energyMean: undefined, minServed: 0.9 },
          ...{ energyPrice: 0, latencyPrice: 0.01 },
        },
      ],
    ]),
  };
  const policy = { ...aPolicy(devices), control: facts };
  const budgets = { batteries: [{ device: deviceId('device-0'), capacityJ: 1e5, reserveRatio: 0.2, hours: 10 }] };
  const clock = systemClock;
  const control = new BudgetControl({
    ...{ clock, facts: () => facts, budgets: () => budgets, chargeOf: () => 0.9, concurrencyOf: () => 1 },
  });
  const qualities = Object.fromEntries(names.map((name, at) => [name, 0.3 + (0.5 * at) / EXPERTS]));
  const gate = aGate(qualities);
  const fleet = new FixtureFleet(devices);
  return {
    ...{ fleet, catalogue: () => catalogue, gate: () => gate, costs, workloads: new WorkloadModel() },
    ...{ policy: () => policy, ledger: new MemoryLedger(), clock, random: systemRandom, log: silentLogger },
    link: { out$: EMPTY, send: () => Promise.resolve(), cancel: () => {}, next: () => {} },
    ...{ onDemand: () => {}, control, config: DISPATCH_DEFAULTS },
  };
}

function atWork(parts: DispatcherParts): JobRuns {
  const nobody = { tokens: () => {}, ended: () => {}, failed: () => {}, usage: () => {}, canMove: () => false };
  const settings = { stats: new DispatchStats(), concurrencyOf: () => 1, heartbeatOf: () => milliseconds(5000) };
  const runs = new JobRuns({ ...parts, ...settings }, { ...nobody, displaced: () => {} });
  for (const [at, device] of [...parts.fleet.view.values()].entries()) {
    const variantId = device.reported?.variants[0]?.variantId;
    if (at % 2 === 0 || variantId === undefined) continue;
    const request = openRequest(parts, aPrompt());
    const choice = { deviceId: device.id, variantId, expertId: expertId('expert-0'), planId: planId('plan') };
    const facts = { jobId: jobId(`job-${at}`), variantId, timeout: milliseconds(60_000), classId: undefined };
    const job = jobOf(request.prompt, facts);
    runs.start(request, choice, milliseconds(1000), job, { dueAt: parts.clock.now(), tenant: '' });
  }
  return runs;
}
