/**
 * Puts the controller together, from the data directory up: state, experts, broker, gate, dispatch, planning, rollout.
 * What is opened here goes to `closers`, which close it in the opposite order, also when a later step fails.
 */
import { join } from 'node:path';

import { loadBoards } from '@fleetgate/firmware-configs/load-board';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { messageOf } from '@fleetgate/shared/errors';
import { type BoardId, deviceId as toDeviceId } from '@fleetgate/shared/ids';
import type { RequestView } from '@fleetgate/shared/api/operations';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';
import { merge, Subject } from 'rxjs';

import { type OpenCatalogue, openCatalogue } from './catalogue/disk-catalogue.js';
import { SqliteExpertStore } from './catalogue/sqlite-expert-store.js';
import type { Batches } from './dispatch/batches/batches.js';
import type { BatchRunner } from './dispatch/batches/batch-runner.js';
import { openBatches } from './dispatch/batches/open-batches.js';
import { COLLABORATION_DEFAULTS, Collaborator } from './dispatch/collaboration/collaborator.js';
import type { BudgetControl } from './dispatch/control/budget-control.js';
import { DISPATCH_DEFAULTS } from './dispatch/dispatch-config.js';
import type { DispatchPolicy } from './dispatch/dispatch-policy.js';
import { openJournal } from './platform/disk-journal.js';
import { jobIdOf } from './dispatch/request-record.js';
import { Dispatcher } from './dispatch/dispatcher.js';
import { MqttExpertLink } from './dispatch/mqtt-expert-link.js';
import type { Steering } from './dispatch/steering.js';
import { LEDGER_DEFAULTS, SqliteLedger } from './dispatch/sqlite-ledger.js';
import type { AttemptFact } from './fleet/attempt-fact.js';
import { Fleet } from './fleet/fleet.js';
import { MqttFleetLink } from './fleet/mqtt-fleet-link.js';
import { SqliteFleetStore } from './fleet/sqlite-fleet-store.js';
import { openGate } from './gating/disk-gate-opening.js';
import { ConfidenceModel } from './gating/confidence.js';
import type { ExpertTrials } from './gating/expert-trials.js';
import { withFoundClasses } from './gating/found-classes.js';
import type { Gate } from './gating/gate.js';
import type { GateLearning } from './gating/gate-learning.js';
import { LiveGate } from './gating/live-gate.js';
import { withUnknownExperts } from './gating/unknown-expert.js';
import { openClasses } from './kept-classes.js';
import { openCosts } from './kept-costs.js';
import { openLearning } from './kept-learning.js';
import { type OpenAccess, openAccess } from './open-access.js';
import { type OpenBroker, openBroker } from './open-broker.js';
import { openControl } from './open-control.js';
import { openControlDatabase } from './open-database.js';
import { type OpenReplica, openReplica } from './open-replica.js';
import { openRollouts, plannable, withRollouts } from './open-rollouts.js';
import { openSteering, openTrials, type TrialSets } from './open-trials.js';
import { byPlan } from './planning/by-plan.js';
import { Demand } from './planning/demand.js';
import { poweredOn, spareCopies } from './planning/plan-record.js';
import { Planner } from './planning/planner.js';
import { planPolicy } from './planning/policy.js';
import { plannedShares } from './planning/planned-shares.js';
import { SqliteBudgetStore, SqlitePlanStore } from './planning/sqlite-plan-store.js';
import { ProcessOptimiser } from './planning/process-optimiser.js';
import type { BrokerLink } from './platform/broker-link.js';
import type { Database } from './platform/database.js';
import type { PlannedResidency } from './rollout/desired.js';
import { LingeringCopies, withLingering } from './rollout/lingering-copies.js';
import { MqttDesiredStateLink } from './rollout/mqtt-desired-state-link.js';
import type { ResidencyLoop } from './pruning/residency-loop.js';
import { DiskReleaseShelf } from './rollout/disk-release-shelf.js';
import { ReleaseBook } from './rollout/release-book.js';
import { RolloutBook } from './rollout/rollout-book.js';
import type { Rollouts } from './rollout/rollouts.js';
import { SqliteRolloutStore } from './rollout/sqlite-rollout-store.js';
import { SqliteReleaseStore } from './rollout/sqlite-release-store.js';
import { wantedReleases } from './rollout/wanted-releases.js';
import { DesiredStates } from './rollout/desired-states.js';
import type { Surroundings } from './surroundings.js';
import type { CostEstimator } from './telemetry/cost.js';
import { openTelemetryStore } from './telemetry/open-telemetry-store.js';
import type { TelemetryStore } from './telemetry/telemetry-store.js';
import type { WorkloadEstimator } from './telemetry/workload-model.js';
import { openTrialHosting, type TrialHosting, withTrials } from './trial-hosting.js';

/** Everything that the HTTP API shows and acts on. */
export interface ControllerParts extends OpenCatalogue, OpenBroker, OpenAccess {
  readonly replication: OpenReplica;
  readonly boards: ReadonlyMap<BoardId, BoardProfile>;
  readonly fleet: Fleet;
  readonly fleetLink: MqttFleetLink;
  readonly gate: LiveGate;
  /** Experts that the gate was not trained on included, corrections not. */
  readonly trainedGate: () => Gate | undefined;
  /** The same with what was learned from use: what dispatch and planning go by. */
  readonly gateInUse: () => Gate | undefined;
  readonly costs: CostEstimator;
  readonly workloads: WorkloadEstimator;
  readonly learning: GateLearning;
  readonly steering: Steering;
  readonly control: BudgetControl;
  readonly trials: ExpertTrials;
  readonly planner: Planner;
  readonly rollouts: Rollouts;
  readonly residencyLoop: ResidencyLoop;
  readonly releases: ReleaseBook;
  readonly rolloutBook: RolloutBook;
  readonly policy: () => DispatchPolicy | undefined;
  readonly dispatcher: Dispatcher;
  readonly collaborator: Collaborator;
  readonly batches: Batches;
  readonly runner: BatchRunner;
  readonly ledger: SqliteLedger;
  readonly telemetry: TelemetryStore;
}

/** A replica's records wait no longer than this, so that hardly any is unknown to the others when it is killed. */
const SHARED_WRITE_DELAY = milliseconds(20);

export async function compose(surroundings: Surroundings): Promise<ControllerParts> {
  const { config, clock, log, closers } = surroundings;
  const path = (name: string): string => join(config.dataDir, name);
  const boards = await loadBoards();
  const opened = await openControlDatabase(config);
  const { database } = opened;
  closers.add('database', () => database.close());
  const replication = await openReplica(surroundings, opened);
  const { leading, leadership, reloads } = replication;
  const settings = { lease: milliseconds(config.leaseMs) };
  const store = new SqliteFleetStore(database, leadership);
  const fleet = await Fleet.open({ store, settings, mayKeep: leading.now, clock, log });
  closers.add('fleet', () => fleet.close());
  const files = { expertsDir: config.expertsDir, artefactsDir: path('artefacts') };
  const catalogue = await openCatalogue(files, new SqliteExpertStore(database), clock, log);
  closers.add('expert additions', () => catalogue.additions.close());
  const { registry } = catalogue;
  const kept = await openCosts(
    { costs: path('costs.json'), workloads: path('workloads.json') },
    {
      boardOf: (id) => boards.get(fleet.view.get(id)?.board ?? ('' as BoardId)),
      variantOf: (id) => registry.variants.get(id),
      powerOf: (id) => fleet.view.get(id)?.reported?.power,
      readRateOf: (id) => fleet.view.get(id)?.reported?.storage.readBytesPerS,
    },
    fleet,
    clock,
    log,
  );
  closers.add('costs', () => kept.close());
  const place = { path: path('telemetry.sqlite'), ...(opened.server === undefined ? {} : { server: opened.url }) };
  const brokerage = await openBroker(surroundings, fleet, boards, { telemetry: place, database, replication });
  const { broker } = brokerage;
  const telemetry = await openTelemetryStore(place, 'read');
  closers.add('telemetry store', () => telemetry.close());
  const fleetLink = new MqttFleetLink({ broker, fleet, fleetId: config.fleet, clock, log, count: surroundings.count });
  fleetLink.start();
  closers.add('fleet link', () => fleetLink.stop());
  const live = new LiveGate((error) => log.error('gate.failed', { error: messageOf(error) }));
  const classes = await openClasses(path('classes.json'), live, clock, log);
  closers.add('classes', () => classes.close());
  const { following } = classes;
  const found = withFoundClasses(live, () => following.tracker);
  const known = withUnknownExperts(found, () => registry.experts.values());
  const trainedGate = startGate(surroundings, live, known);
  const learned = await openLearning(database, live, trainedGate, clock, log);
  closers.add('gate learning', () => learned.close());
  const { learning, gate } = learned;
  const planning = { fleet, catalogue: () => registry, gate, costs: kept.costs, workloads: kept.workloads };
  const rolloutBook = new RolloutBook(new SqliteRolloutStore(database), (id) => fleet.view.get(id)?.board, log);
  await rolloutBook.load();
  const shelf = new DiskReleaseShelf(path('releases'), (sha256, file) => registry.addArtefact(sha256, file));
  const releases = new ReleaseBook(new SqliteReleaseStore(database), shelf);
  await releases.load();
  const placeable = { ...planning, catalogue: plannable(registry, rolloutBook), leads: leading.now };
  const { planner, demand } = openPlanner(surroundings, placeable, database);
  reloads(['rollout'], () => rolloutBook.load());
  reloads(['release'], () => releases.load());
  reloads(['plan', 'budget'], () => planner.reload());
  const sets: TrialSets = { trials: undefined };
  const steering = await openSteering(surroundings, learned, sets);
  const hosting = openTrialHosting(surroundings, fleet, registry, planner, { sets, leads: leading.now });
  const asPlanned = byPlan(planner, (record) => ({
    ...planPolicy(record),
    shares: plannedShares(record, (id) => registry.variants.get(id)?.expertId),
  }));
  const planned = withRollouts(asPlanned, rolloutBook);
  const placed = withTrials(planned, hosting);
  const lingering = new LingeringCopies({ fleet, catalogue: registry, plan: placed, clock });
  closers.add('lingering copies', () => lingering.close());
  const policy = withLingering(placed, lingering);
  const ledger = openLedger(surroundings, database, replication);
  const access = await openAccess(surroundings, database, ledger, reloads);
  const control = await openControl(surroundings, { fleet, planner, policy });
  const attempts = new Subject<AttemptFact>();
  const link = new MqttExpertLink(broker, config.fleet, log, config.replica);
  const dispatcher = new Dispatcher({
    ...planning,
    policy,
    link,
    ledger,
    clock,
    random: surroundings.random,
    log,
    evidence: learning,
    steering,
    control,
    onAttempt: (fact) => attempts.next(fact),
    onDemand: (classId, score) => {
      demand.record(classId, clock.now());
      following.observe(score);
    },
    config: { ...DISPATCH_DEFAULTS, storePrompts: config.storePrompts },
  });
  await dispatcher.start();
  closers.add('dispatcher', () => dispatcher.close());
  const collaborator = new Collaborator({
    ...COLLABORATION_DEFAULTS,
    dispatcher,
    catalogue: planning.catalogue,
    costs: kept.costs,
    confidence: new ConfidenceModel((expert) => live.confidence(expert)),
    evidence: learning,
    ledger,
    clock,
    random: surroundings.random,
    log,
    requestTimeout: DISPATCH_DEFAULTS.requestTimeout,
  });
  closers.add('collaborator', () => collaborator.close());
  const load = (): { idleDevices: number; inFlight: number; maxInFlight: number } => ({
    idleDevices: [...fleet.view.values()].filter((one) => one.presence === 'online' && dispatcher.isIdle(one)).length,
    inFlight: dispatcher.inFlight,
    maxInFlight: DISPATCH_DEFAULTS.maxInFlight,
  });
  const { batches, runner } = openBatches({
    database,
    taker: collaborator,
    load,
    rates: access.rates,
    ...surroundings,
    ...(config.replica === undefined ? {} : { leading }),
  });
  await runner.start();
  closers.add('batches', () => runner.close());
  const trials = await openTrials(surroundings, learned, {
    ...{ live, fleet, catalogue: registry, dispatcher, policy },
    leads: leading.now,
  });
  sets.trials = trials;
  closers.add('expert trials', () => trials.close());
  const { rollouts, residencyLoop } = openRollouts(surroundings, rolloutBook, {
    variants: catalogue.variantAdditions,
    releases,
    ...{ fleet, catalogue: registry, dispatcher, policy, attempts$: attempts },
    planned: () => asPlanned()?.placements,
    leading,
  });
  await planner.start();
  closers.add('planner', () => planner.stop());
  startDesiredStates(surroundings, fleet, catalogue, planner, broker, {
    ...{ hosting, lingering, rolloutBook, releases, replication },
  });
  replication.start({
    onStruck: (error) => dispatcher.failAll(error),
    onOrphan: (record) => cancelJobs(record, link),
    demand,
  });
  return {
    ...catalogue,
    ...access,
    boards,
    fleet,
    fleetLink,
    ...brokerage,
    replication,
    gate: live,
    trainedGate,
    gateInUse: gate,
    costs: kept.costs,
    workloads: kept.workloads,
    learning,
    steering,
    control,
    trials,
    planner,
    rollouts,
    residencyLoop,
    releases,
    rolloutBook,
    policy,
    dispatcher,
    collaborator,
    batches,
    runner,
    ledger,
    telemetry,
  };
}

/**
 * Opens the gate file, or trains; gives `known`, what scores by it, undefined while the first gate is being trained, so that
 * no plan is made for classes of no meaning.
 */
function startGate({ config, log, closers }: Surroundings, live: LiveGate, known: Gate): () => Gate | undefined {
  const abort = new AbortController();
  let isOpen = false;
  const files = { gatePath: join(config.dataDir, 'gate.json'), outcomesPath: config.outcomesPath };
  const opening = openGate(live, files, log, abort.signal)
    .catch((error: unknown) => {
      log.error('gate.not-opened', { reason: messageOf(error) });
      live.abandonTraining(`the gate cannot be opened: ${messageOf(error)}`);
    })
    .finally(() => {
      isOpen = true;
    });
  closers.add('gate', () => {
    abort.abort();
    return opening;
  });
  return () => (isOpen || live.trainedOn > 0 ? known : undefined);
}

function openPlanner(
  { clock, random, log, closers }: Surroundings,
  planning: Pick<
    ConstructorParameters<typeof Planner>[0],
    'fleet' | 'catalogue' | 'gate' | 'costs' | 'workloads' | 'leads'
  >,
  database: Database,
): { readonly planner: Planner; readonly demand: Demand } {
  const optimiser = new ProcessOptimiser();
  closers.add('optimiser', () => optimiser.close());
  const demand = new Demand();
  const plans = new SqlitePlanStore(database);
  const budgets = new SqliteBudgetStore(database);
  const planner = new Planner({ ...planning, demand, plans, budgets, optimiser, clock, random, log });
  return { planner, demand };
}

function openLedger(
  { config, clock, log, closers }: Surroundings,
  database: Database,
  { owner, leading }: OpenReplica,
): SqliteLedger {
  // Where another controller has to end what this one leaves, the database has it sooner.
  const writeDelay = config.replica === undefined ? LEDGER_DEFAULTS.writeDelay : SHARED_WRITE_DELAY;
  const settings = { ...LEDGER_DEFAULTS, writeDelay, maxAge: days(config.retentionDays) };
  const journal = openJournal(join(config.dataDir, 'requests.journal'), log);
  const ledger = new SqliteLedger({ database, clock, log, settings, journal, owner, leads: leading.now });
  closers.add('ledger', () => ledger.close());
  return ledger;
}

function startDesiredStates(
  { config, clock, log, closers }: Surroundings,
  fleet: Fleet,
  { registry }: OpenCatalogue,
  planner: Planner,
  broker: BrokerLink,
  parts: {
    readonly hosting: TrialHosting;
    readonly lingering: LingeringCopies;
    readonly rolloutBook: RolloutBook;
    readonly releases: ReleaseBook;
    readonly replication: OpenReplica;
  },
): void {
  const { hosting, lingering, releases, replication, rolloutBook } = parts;
  const planned = byPlan(planner, (record): PlannedResidency => ({
    planId: record.id,
    placements: planPolicy(record).placements,
    poweredOn: poweredOn(record),
    spare: spareCopies(record),
  }));
  const activePlan = withLingering(withTrials(withRollouts(planned, rolloutBook), hosting), lingering);
  const desired = new DesiredStates({
    fleet,
    catalogue: registry,
    activePlan,
    planChanges$: merge(planner.plans.active$, hosting.changes$, lingering.changes$, rolloutBook.changes$),
    link: new MqttDesiredStateLink(broker, config.fleet),
    ...(config.replica === undefined ? {} : { leading: replication.leading }),
    settings: {
      telemetry: { sampleMs: config.telemetrySampleMs, batchMs: config.telemetryBatchMs },
      releases: {
        forDevice: (device) => wantedReleases(device, rolloutBook.records(), releases),
        ofVariant: (variant) => releases.ofVariant(variant),
      },
    },
    clock,
    log,
  });
  desired.start();
  closers.add('desired states', () => desired.stop());
}

/** Devices need not go on with what nobody waits for. */
function cancelJobs({ id, attempts }: RequestView, link: MqttExpertLink): void {
  for (const [at, { deviceId, outcome }] of attempts.entries()) {
    if (outcome === 'running') link.cancel(toDeviceId(deviceId), jobIdOf(id, at + 1), 'controller.crashed');
  }
}

function days(count: number): Milliseconds {
  return milliseconds(count * 86_400_000);
}
