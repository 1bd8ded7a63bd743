import { existsSync } from 'node:fs';

import fastifyStatic from '@fastify/static';
import type { GateView, RequestView, StatusView } from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';
import { processEntry } from '@fleetgate/shared/process-entry';
import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';

import type { AccessPolicy } from './access/admission.js';
import { AuditController } from './access/audit.controller.js';
import { guardAccess } from './access/http-access.js';
import { auditChanges } from './access/http-audit.js';
import { KeyRing } from './access/key-ring.js';
import { KeysController } from './access/keys.controller.js';
import { SqliteAuditLog } from './access/sqlite-audit-log.js';
import { Tenants } from './access/tenants.js';
import { TenantsController } from './access/tenants.controller.js';
import { CatalogueController } from './catalogue/catalogue.controller.js';
import { ExpertAdditions } from './catalogue/expert-additions.js';
import { VariantAdditions } from './catalogue/variant-additions.js';
import { ExpertRegistry } from './catalogue/expert-registry.js';
import type { ControllerParts } from './compose.js';
import { BudgetControl } from './dispatch/control/budget-control.js';
import { batchModule, readForms } from './dispatch/batches/batch.module.js';
import { MOST_FORM_BYTES } from './dispatch/batches/upload.js';
import { dispatchModule, MAX_BODY_BYTES, readJsonBodies } from './dispatch/dispatch.module.js';
import { AdmissionController } from './enrolment/admission.controller.js';
import { Approvals } from './enrolment/approvals.js';
import { EnrolmentController } from './enrolment/enrolment.controller.js';
import { FleetAddress } from './enrolment/fleet-address.js';
import { JoinTokens } from './enrolment/join-tokens.js';
import { Enrolment } from './enrolment/enrolment.js';
import { Fleet } from './fleet/fleet.js';
import { ExpertTrials } from './gating/expert-trials.js';
import { GateLearning } from './gating/gate-learning.js';
import { FeedbackController } from './operations/feedback.controller.js';
import { FeedController } from './operations/feed.controller.js';
import { BOARDS, CLOCK, FleetController, STATUS, TELEMETRY_STORE } from './operations/fleet.controller.js';
import { expertCosts } from './operations/expert-cost.js';
import { GATE, GateController } from './operations/gate.controller.js';
import { gateView } from './operations/gate-view.js';
import { HealthController, OPENAPI } from './operations/health.controller.js';
import { LEARNING, LearningController } from './operations/learning.controller.js';
import { learningView } from './operations/learning-view.js';
import { LiveFeed } from './operations/live-feed.js';
import { describeOperations } from './operations/open-api.js';
import { PlanController } from './operations/plan.controller.js';
import { LEDGER, RequestController } from './operations/request.controller.js';
import { Planner } from './planning/planner.js';
import { ProposalController } from './operations/proposal.controller.js';
import { ArtefactSourcesController } from './operations/artefact-sources.controller.js';
import { ReleaseController } from './operations/release.controller.js';
import { RolloutController } from './operations/rollout.controller.js';
import { ErrorFilter } from './platform/error-filter.js';
import { guardServer } from './platform/http-guards.js';
import { setSecurityHeaders } from './platform/http-security-headers.js';
import { ResidencyLoop } from './pruning/residency-loop.js';
import { ReleaseBook } from './rollout/release-book.js';
import { RolloutBook } from './rollout/rollout-book.js';
import { Rollouts } from './rollout/rollouts.js';
import { serverOptions } from './platform/http-server-options.js';
import { Metrics } from './platform/metrics.js';

export interface AppParts extends ControllerParts {
  readonly feed: LiveFeed;
  readonly metrics: Metrics;
  readonly status: () => StatusView;
  readonly access: Pick<AccessPolicy, 'ownerDigest' | 'hosts' | 'isDevice'>;
  readonly startedAtMs: number;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Nest wants a class to name a module by. */
class AppModule {}

/** The HTTP side of the controller, ready to listen. */
export async function createApp(parts: AppParts): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter(serverOptions());
  const describe = { document: (): Promise<object> => Promise.resolve({}) };
  const app = await NestFactory.create<NestFastifyApplication>(appModule(parts, describe), adapter, {
    logger: false,
    abortOnError: false,
    bodyParser: false,
  });
  const server = app.getHttpAdapter().getInstance();
  guardServer(server, {
    access: (guarded) => guardAccess(guarded, accessPolicy(parts), parts.keys.revoked$),
    mostBodyBytes: (path) => (path === '/v1/files' ? MOST_FORM_BYTES : MAX_BODY_BYTES),
  });
  auditChanges(server, parts);
  setSecurityHeaders(server);
  const dashboard = processEntry(import.meta.url, './dashboard');
  if (existsSync(dashboard)) {
    await app.register(fastifyStatic, { root: dashboard, prefix: '/', cacheControl: true, maxAge: 0 });
  }
  app.useGlobalFilters(new ErrorFilter(parts.log));
  readJsonBodies(app);
  readForms(app);
  let document: Promise<object> | undefined;
  describe.document = () => (document ??= describeApi(app, parts.version));
  return app;
}

function appModule(parts: AppParts, describe: { readonly document: () => Promise<object> }): DynamicModule {
  const { registry, policy, clock, startedAtMs } = parts;
  const models = { catalogue: () => registry, policy, since: Math.floor(startedAtMs / 1000) };
  return {
    module: AppModule,
    imports: [
      dispatchModule({ collaborator: parts.collaborator, models, clock, answers: parts.replication.answers }),
      batchModule(parts.batches),
    ],
    controllers: [
      HealthController,
      EnrolmentController,
      AdmissionController,
      KeysController,
      TenantsController,
      AuditController,
      CatalogueController,
      ArtefactSourcesController,
      FleetController,
      PlanController,
      RolloutController,
      ProposalController,
      ReleaseController,
      RequestController,
      FeedController,
      GateController,
      FeedbackController,
      LearningController,
    ],
    providers: [
      { provide: ExpertRegistry, useValue: registry },
      { provide: ExpertAdditions, useValue: parts.additions },
      { provide: VariantAdditions, useValue: parts.variantAdditions },
      { provide: Enrolment, useValue: parts.enrolment },
      { provide: Approvals, useValue: parts.approvals },
      { provide: JoinTokens, useValue: parts.tokens },
      { provide: FleetAddress, useValue: parts.address },
      { provide: Fleet, useValue: parts.fleet },
      { provide: KeyRing, useValue: parts.keys },
      { provide: Tenants, useValue: parts.tenants },
      { provide: SqliteAuditLog, useValue: parts.audit },
      { provide: Planner, useValue: parts.planner },
      { provide: Rollouts, useValue: parts.rollouts },
      { provide: ReleaseBook, useValue: parts.releases },
      { provide: ResidencyLoop, useValue: parts.residencyLoop },
      { provide: RolloutBook, useValue: parts.rolloutBook },
      { provide: BudgetControl, useValue: parts.control },
      { provide: LiveFeed, useValue: parts.feed },
      { provide: Metrics, useValue: parts.metrics },
      { provide: BOARDS, useValue: parts.boards },
      { provide: TELEMETRY_STORE, useValue: parts.telemetry },
      { provide: LEDGER, useValue: parts.ledger },
      { provide: GateLearning, useValue: parts.learning },
      { provide: GATE, useValue: (requests: readonly RequestView[]) => viewOfGate(parts, requests) },
      { provide: LEARNING, useValue: () => learningView(parts, clock.now()) },
      { provide: ExpertTrials, useValue: parts.trials },
      { provide: STATUS, useValue: parts.status },
      { provide: CLOCK, useValue: clock },
      { provide: OPENAPI, useValue: () => describe.document() },
    ],
  };
}

function accessPolicy({ access, keys, rates }: AppParts): AccessPolicy {
  return { ...access, rates, findKey: (text, digest) => keys.find(text, digest) };
}

function viewOfGate(parts: AppParts, requests: readonly RequestView[]): GateView {
  const { gate: live, gateInUse, costs, workloads, registry: catalogue, policy } = parts;
  return gateView({
    live,
    gate: gateInUse(),
    requests,
    costOf: expertCosts({ policy: policy(), catalogue, costs, workloads }),
  });
}

/** Built when it is first asked for: the library takes a third of a second to load. */
async function describeApi(app: NestFastifyApplication, version: string): Promise<object> {
  const { DocumentBuilder, SwaggerModule } = await import('@nestjs/swagger');
  const settings = new DocumentBuilder()
    .setTitle('Fleetgate')
    .setDescription('Collaborative LLM inference on fleets of edge devices, under energy and latency budgets.')
    .setVersion(version)
    .addBearerAuth()
    .build();
  return describeOperations(SwaggerModule.createDocument(app, settings));
}
