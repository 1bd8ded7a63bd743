/**
 * Shapes of the operations API (`/api/v1/...`): what the controller answers and what the dashboard and the command line
 * read. Types only: the controller makes these, so nothing has to be parsed.
 */
import type { Expert, Variant } from '../catalogue/expert.js';
import type { SlabUsage } from '../protocol/job.js';
import type { DeviceEvent, Metric } from '../protocol/telemetry.js';
import type { Measurement, PowerSource, Residency, SlabReport } from '../protocol/twin.js';

/** Every list endpoint answers `{ "items": [...] }`. */
export interface ListBody<T> {
  readonly items: readonly T[];
}

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
    readonly hint?: string;
  };
}

/** GET /api/v1/devices, /api/v1/devices/{id} */
export interface DeviceView {
  readonly id: string;
  readonly board: string;
  readonly boardTitle: string;
  readonly state: 'online' | 'offline' | 'never-seen';
  /** What it is doing: from its reported state. */
  readonly activity: 'starting' | 'measuring' | 'active' | 'standby' | 'draining' | 'unknown';
  readonly epoch: number;
  readonly lastSeenMs: number | null;
  readonly agentVersion: string | null;
  readonly host: {
    readonly os: string;
    readonly arch: string;
    readonly cpu: string;
    readonly cores: number;
    readonly memoryBytes: number;
  } | null;
  readonly engine: {
    readonly kind: string;
    readonly version: string;
    readonly state: string;
    readonly reason?: string;
  } | null;
  readonly memory: { readonly budgetBytes: number; readonly usedBytes: number } | null;
  /** Variants that may be resident at once. */
  readonly slots: number | null;
  /** Jobs that run at once. */
  readonly concurrency: number | null;
  readonly desiredGeneration: number;
  readonly observedGeneration: number;
  readonly settled: boolean;
  readonly power: {
    readonly source: PowerSource;
    readonly from: string;
    readonly idleW: number;
    readonly loadW: number;
    /** Power mode in force, by the board's own name; absent where it has none. */
    readonly mode?: string;
    readonly cpuGovernor?: string;
  } | null;
  readonly variants: readonly {
    readonly variantId: string;
    readonly residency: Residency;
    readonly progress?: number;
    readonly memoryBytes?: number;
    readonly error?: string;
    /** Of a mixture of experts whose slabs the engine keeps itself. */
    readonly slabs?: SlabReport;
  }[];
  /** How much the device spares itself for heat or battery, 0..1, and why; null at ease. */
  readonly governor: { readonly strain: number; readonly reason: string } | null;
  readonly measurements: readonly Measurement[];
  /** Last telemetry value of each metric. */
  readonly last: Partial<Record<Metric, number>>;
  readonly lastSampleMs: number | null;
}

/** GET /api/v1/experts */
export type ExpertView = Expert;
/** GET /api/v1/variants */
export type VariantView = Variant;

/** POST /api/v1/experts {source, name?, domains?}, and GET /api/v1/experts/{id}/addition: how an expert is being added. */
export interface ExpertAdditionView {
  readonly id: string;
  readonly source: string;
  /** As soon as it is known. */
  readonly licence: string | null;
  readonly progress:
    | { readonly state: 'resolving' | 'checking' }
    | { readonly state: 'fetching'; readonly doneBytes: number; readonly totalBytes: number | null }
    | { readonly state: 'ready'; readonly expert: Expert }
    | {
        readonly state: 'failed';
        readonly error: { readonly code: string; readonly message: string; readonly hint?: string };
      };
}

/** GET and PUT /api/v1/budgets. A bound that is null does not bind. */
export interface Budgets {
  /** Mean power of the whole fleet, idle included, watts. */
  readonly fleetPowerW: number | null;
  /** Distinct variants served at once. */
  readonly maxVariants: number | null;
  /** Bytes that one plan change may newly load. */
  readonly moveBytes: number | null;
  /** Applies to every class without an entry of its own. */
  readonly defaultClass: ClassBudget;
  readonly classes: Readonly<Record<string, Partial<ClassBudget>>>;
  /** What may be used within an hour or a day; absent: no such bound. */
  readonly usage?: readonly UsageBudget[];
  /** How long charges of batteries have to last; absent: no such bound. */
  readonly batteries?: readonly BatteryBudget[];
}
/** Of the whole fleet, or of one device, prompt class or tenant; windows begin at full hours and days of UTC. */
export interface UsageBudget {
  readonly id: string;
  readonly device?: string | undefined;
  readonly class?: string | undefined;
  /** `user` of an OpenAI request. */
  readonly tenant?: string | undefined;
  readonly per: 'hour' | 'day';
  /** Energy of requests above idle, joules. */
  readonly energyJ?: number | null | undefined;
  /** Time that devices work on requests, ms. */
  readonly busyMs?: number | null | undefined;
  /** Jobs sent to devices. */
  readonly calls?: number | null | undefined;
}
export interface BatteryBudget {
  readonly device: string;
  /** Energy of a full charge, joules. */
  readonly capacityJ: number;
  /** Below this share of its charge, 0..1, the device is not asked. */
  readonly reserveRatio: number;
  /** Time that a full charge has to last, hours. */
  readonly hours: number;
}

/** GET /api/v1/budgets/burn-down: what the budgets are used up by, and what that makes things cost. */
export interface BurnDownView {
  readonly usage: readonly UsageBurnDown[];
  /** Bounds on means. `backlog` is what was used beyond the bound and not yet made up for, in `unit`; what is 0 costs nothing. */
  readonly queues: readonly {
    readonly bound: 'fleet-power' | 'battery' | 'busy-time' | 'class-energy' | 'class-latency' | 'class-served';
    /** Device or class; null: the fleet. */
    readonly of: string | null;
    readonly limit: number;
    readonly unit: 'W' | 'J' | 'ms' | 'ratio' | 'devices';
    readonly backlog: number;
    readonly backlogUnit: 'J' | 's' | 'requests';
    /** Quality (0..1) that one unit more has to earn: a joule, a second, or (served) being answered. */
    readonly price: number;
  }[];
}
export interface UsageBurnDown extends UsageBudget {
  readonly windowStartMs: number;
  readonly windowEndMs: number;
  readonly used: { readonly energyJ: number; readonly busyMs: number; readonly calls: number };
  /** Energy that an even pace would have used by now; null without a bound on energy. */
  readonly paceJ: number | null;
  /** Quality that a joule has to earn for it. */
  readonly price: number;
  readonly state: 'on-pace' | 'ahead' | 'spent';
}
export interface ClassBudget {
  /** Mean latency of a request, ms. */
  readonly latencyMeanMs: number;
  /** Mean energy of a request above idle, joules; null: no bound. */
  readonly energyJ: number | null;
  /** Share of the demand that has to be served, 0..1. */
  readonly minServed: number;
  /** Distinct devices that must host a fitting variant. */
  readonly minReplicas: number;
  readonly weight: number;
}

export type PlanState = 'proposed' | 'active' | 'superseded' | 'rejected';

/** GET /api/v1/plans, /plans/{id} and the answer of /plans/propose, /plans/{id}/apply, /plans/rollback */
export interface PlanView {
  readonly id: string;
  readonly state: PlanState;
  readonly createdAtMs: number;
  readonly activatedAtMs: number | null;
  /** Why it was made: `device joined`, `budget changed`, `requested`, ... */
  readonly trigger: string;
  readonly status: 'optimal' | 'feasible' | 'infeasible' | 'timeout';
  /** 0..1000: demand-weighted quality, in thousandths. */
  readonly objective: number | null;
  readonly bound: number | null;
  readonly gap: number | null;
  readonly solveMs: number;
  readonly method: string;
  /** Whether the independent verifier passed it. */
  readonly verified: boolean;
  readonly budgets: Budgets;
  readonly placements: readonly { readonly deviceId: string; readonly variantId: string }[];
  readonly poweredOn: readonly string[];
  readonly routing: readonly {
    readonly classId: string;
    readonly deviceId: string;
    readonly variantId: string;
    readonly ratePerS: number;
    readonly quality: number;
    readonly energyJ: number;
    readonly latencyMs: number;
  }[];
  readonly demand: readonly { readonly classId: string; readonly ratePerS: number }[];
  /** Each bound with what the plan uses of it; `binding` when less than 1 % is left. */
  readonly constraints: readonly PlanConstraint[];
  readonly conflict: readonly string[] | null;
  readonly relaxations:
    readonly { readonly group: string; readonly slack: number; readonly unit: string; readonly text: string }[] | null;
  /** Of an infeasible plan: joint repairs, none better than another throughout. */
  readonly repairs?: readonly { readonly changes: readonly { readonly text: string }[] }[];
  readonly explanation: readonly string[];
}

/**
 * GET /api/v1/plans/{id}/explain?overview=true&curve=power|latency&swap=DEVICE:VARIANT:VARIANT&device=ID. Without parameters
 * what the plan says by itself; with them also what solving again for at most ten seconds tells.
 */
export interface ExplanationView extends Pick<PlanView, 'id' | 'state' | 'status' | 'trigger' | 'explanation'> {
  readonly binding: readonly PlanConstraint[];
  readonly conflict: PlanView['conflict'];
  readonly relaxations: PlanView['relaxations'];
  readonly repairs?: PlanView['repairs'];
  readonly prices?: readonly PriceView[];
  readonly off?: readonly DeviceReasonView[];
  /** Nearest calls first. */
  readonly swaps?: readonly SwapView[];
  readonly curve?: CurveView;
  readonly swap?: SwapView;
  readonly device?: DeviceReasonView;
}
/** What more of one bound is worth, in points per unit, and up to which bound. Null: nothing; absent: no time. */
export interface PriceView {
  readonly group: string;
  readonly subject: string;
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly kept?: SlopeView | null;
  readonly best?: SlopeView | null;
  readonly text: string;
}
export interface SlopeView {
  readonly perUnit: number;
  readonly upTo: number;
}
export interface DeviceReasonView {
  readonly device: string;
  readonly text: string;
}
export interface SwapView {
  readonly device: string;
  readonly from: string;
  readonly to: string;
  /** Points that the best plan with the swap is worse; null where none fits; absent: no time. */
  readonly regret?: number | null;
  readonly text: string;
}
export interface CurveView {
  readonly of: 'power' | 'latency';
  readonly unit: string;
  readonly now: number;
  readonly points: readonly { readonly value: number; readonly objective: number; readonly bound: number | null }[];
  readonly text: string;
}
export interface PlanConstraint {
  readonly group: string;
  readonly subject: string;
  readonly used: number;
  readonly limit: number;
  readonly unit: string;
  readonly binding: boolean;
  /** Objective points per unit of the limit; null when unknown. */
  readonly price: number | null;
}

/** GET /api/v1/requests, /requests/{id}: the decision record. No prompt text unless switched on. */
export interface RequestView {
  readonly id: string;
  readonly receivedAtMs: number;
  readonly endedAtMs: number | null;
  readonly state: 'queued' | 'running' | 'succeeded' | 'failed' | 'refused' | 'cancelled';
  readonly endpoint: string;
  readonly model: string;
  readonly mode: string;
  readonly classId: string | null;
  readonly planId: string | null;
  readonly promptChars: number;
  /** Only where the controller was told to keep prompts. */
  readonly prompt?: string;
  readonly expertId: string | null;
  readonly variantId: string | null;
  readonly deviceId: string | null;
  readonly attempts: readonly {
    readonly deviceId: string;
    readonly variantId: string;
    readonly startedAtMs: number;
    /** `running`, `succeeded`, `outrun`, `unsent` (it ended while it waited for its turn), or an error code. */
    readonly outcome: string;
    /** Beside the one before it, for its first token was late; the slower one's outcome is `outrun`. */
    readonly hedge?: true;
  }[];
  /** While it waits for its device: place in that queue (1 is next) and predicted wait, as they were when it was put there. */
  readonly queue?: { readonly place: number; readonly etaMs: number } | undefined;
  /** One sentence for a person. */
  readonly why: string;
  /** How unlike the training data the prompt is, 0..1; absent without a gate. */
  readonly novelty?: number;
  /** Why experts were compared by what they are in general, not by predictions for this prompt; absent where they were not. */
  readonly abstained?: string;
  readonly candidates: readonly CandidateView[];
  /** Quality (0..1) that a joule and a second of latency had to earn at the decision; absent before one. */
  readonly prices?: { readonly perJoule: number; readonly perSecond: number };
  readonly predicted: CostView | null;
  readonly actual:
    | (CostView & {
        readonly promptTokens: number;
        readonly outputTokens: number;
        /** Of the prompt, tokens that an earlier request had left evaluated; absent: none. */
        readonly reusedTokens?: number;
        readonly ttftMs: number | null;
        readonly energySource: PowerSource;
        /** Of the last attempt, as its device says: waiting, reading the prompt, writing the answer. */
        readonly engine?: { readonly queueMs: number; readonly prefillMs: number; readonly decodeMs: number };
        /** Of the last attempt, of a mixture of experts whose slabs lie on storage. */
        readonly slabs?: SlabUsage;
      })
    | null;
  readonly finishReason: string | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Of a request that several experts answered. Its own `actual` sums theirs. */
  readonly collaboration?: CollaborationView;
  /** Of what one of several experts was asked: the request that they answered. */
  readonly callOf?: string;
  /** The trace that the client's request was part of, as `traceparent` of W3C Trace Context. */
  readonly traceParent?: string;
}
export interface CollaborationView {
  readonly how: 'cascade' | 'ensemble' | 'vote' | 'brief';
  /** Predicted for the answer that was given, 0..1. */
  readonly quality: number | null;
  readonly calls: readonly CallView[];
}
export interface CallView {
  readonly requestId: string;
  /** What it was asked for. */
  readonly role: 'first' | 'escalation' | 'member' | 'voter' | 'background' | 'answer';
  readonly expertId: string;
  readonly variantId: string;
  readonly deviceId: string | null;
  /** Predicted before the call. */
  readonly quality: number;
  /** Share in the answer: of the mixture at its end, or of the votes. */
  readonly weight: number | null;
  /** How sure the expert was of its answer: mean natural log-probability of a token. */
  readonly meanLogProb: number | null;
  readonly latencyMs: number | null;
  readonly energyJ: number | null;
  /** `running`, `succeeded`, or the code of its failure. */
  readonly outcome: string;
}
export interface CostView {
  readonly latencyMs: number;
  readonly energyJ: number;
}
export interface CandidateView {
  readonly expertId: string;
  readonly variantId: string;
  readonly deviceId: string | null;
  readonly quality: number;
  readonly qualitySd: number;
  readonly latencyMs: number | null;
  readonly energyJ: number | null;
  /** Quality less priced energy and latency: the highest wins. */
  readonly value: number | null;
  readonly chosen: boolean;
  /** Why it was not eligible; null when it was. */
  readonly excluded: string | null;
}

/** GET /api/v1/telemetry?device=&metric=&from=&to=&step= */
export interface TelemetryBody {
  readonly device: string;
  readonly metric: Metric;
  readonly stepMs: number;
  readonly points: readonly {
    readonly atMs: number;
    readonly mean: number;
    readonly min: number;
    readonly max: number;
    readonly n: number;
  }[];
}

/** GET /api/v1/status: one look at everything, and GET /readyz's body. */
export interface StatusView {
  readonly fleet: string;
  readonly version: string;
  readonly ready: boolean;
  readonly startedAtMs: number;
  readonly broker: 'connected' | 'disconnected';
  readonly gate: {
    /** `degraded`: experts count by what they are in general, whatever the prompt; `why` says why. */
    readonly state: 'ready' | 'training' | 'degraded';
    readonly why: string | null;
    readonly experts: number;
    readonly trainedOn: number;
  };
  readonly devices: { readonly total: number; readonly online: number };
  readonly activePlanId: string | null;
  readonly mqttUrl: string;
  /** Where devices with a certificate connect, if anywhere. */
  readonly mqttTlsUrl?: string;
  /** Of several controllers, the one that was asked, and whether it plans and rolls out. */
  readonly replica?: { readonly name: string; readonly leads: boolean };
}

/** POST /api/v1/enrol {token, name, board, nonce} */
export interface EnrolRequest {
  readonly token: string;
  readonly name: string;
  readonly board: string;
  /**
   * 16 to 200 characters by chance, the same for every try of one enrolment. Until the device has first connected, who
   * asks again with it gets a fresh secret: the answer was lost. Without it, or with another, the name is taken.
   */
  readonly nonce?: string;
  /** Certificate signing request for the device's own key, PKCS #10 in PEM: ECDSA P-256, its common name the device's. */
  readonly csr?: string;
}
/** 201 */
export interface EnrolAnswer {
  readonly fleet: string;
  readonly deviceId: string;
  /** Same host as the controller was reached by, unless the fleet uses an external broker. */
  readonly mqttUrl: string;
  /** MQTT password and HTTP bearer token of this device. Shown once. */
  readonly secret: string;
  /** For a request with a `csr`, where devices are known by certificates. `mqttUrl` is then one that takes it. */
  readonly tls?: DeviceTls;
}
/** PEM. */
export interface DeviceTls {
  readonly certificate: string;
  /** Whose signature the broker has; the only one to be trusted. */
  readonly authority: string;
  /** Name to ask for in the broker's certificate, whatever its address. */
  readonly brokerName: string;
}
/** 202: a person has to let the device in. It asks again with the same name, nonce and csr. */
export interface EnrolWaiting {
  readonly state: 'waiting';
  readonly deviceId: string;
  readonly retryAfterMs: number;
}

/** POST /api/v1/enrol/renew, before the present certificate runs out. 200: RenewAnswer. */
export interface RenewRequest {
  readonly deviceId: string;
  /** For a new key. */
  readonly csr: string;
  /**
   * The present certificate, and a signature by its key over `renewalText` (shared/src/protocol/enrolment.ts): ECDSA
   * with SHA-256, DER in base64. A device that never had one sends `authorization: Bearer DEVICE:SECRET` instead.
   */
  readonly proof?: { readonly certificate: string; readonly signature: string };
}
export interface RenewAnswer {
  readonly fleet: string;
  readonly deviceId: string;
  readonly mqttUrl: string;
  readonly tls: DeviceTls;
}

/** GET /api/v1/devices/{id}/credentials: by what a device is let in; DELETE revokes it: 204. */
export interface CredentialsView {
  readonly state: 'secret' | 'certificate' | 'revoked';
  /** Those in force, oldest first. */
  readonly certificates: readonly { readonly serial: string; readonly notAfterMs: number }[];
}

/** GET /api/v1/enrolments; POST /api/v1/enrolments/{name}/approve or /deny: 204. */
export interface WaitingDeviceView {
  readonly name: string;
  readonly board: string;
  readonly address: string;
  readonly askedAtMs: number;
  readonly state: 'waiting' | 'approved' | 'denied';
  /** SHA-256 of the device's public key, to be compared with what the device has logged; null without a csr. */
  readonly keySha256: string | null;
}

/** POST /api/v1/join-tokens {ttlS, uses}: 201; GET: those that have not run out, without the token; DELETE .../{id}: 204. */
export interface JoinTokenView {
  readonly id: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly usesLeft: number;
  /** Shown once, when it is made. */
  readonly token?: string;
}

/** Frames of GET /api/v1/events (SSE): `event: <type>`, `data: <json>`. */
export type LiveEvent =
  | { readonly type: 'device'; readonly device: DeviceView }
  | { readonly type: 'device-removed'; readonly id: string }
  | {
      readonly type: 'telemetry';
      readonly deviceId: string;
      readonly atMs: number;
      readonly last: Partial<Record<Metric, number>>;
    }
  | { readonly type: 'plan'; readonly plan: PlanView }
  | { readonly type: 'budgets'; readonly budgets: Budgets }
  | { readonly type: 'request'; readonly request: RequestView }
  | { readonly type: 'device-event'; readonly deviceId: string; readonly event: DeviceEvent }
  | { readonly type: 'status'; readonly status: StatusView };

/** POST /v1/feedback {request_id, rating: "up"|"down" | score: 0..1 | correct: boolean, comment?}; answers 202. */
export interface FeedbackAnswer {
  readonly object: 'feedback';
  readonly request_id: string;
  /** The expert that answered, for whom this counts. */
  readonly expert: string;
  /** What it counts as, 0..1. */
  readonly value: number;
  /** Whether it took the place of an earlier rating of the same answer. */
  readonly replaced: boolean;
}

/** GET /api/v1/gate/learning: what the gate has learned from use. Qualities and errors are on the gate's scale, 0..1. */
export interface LearningView {
  /** Grows with every correction that goes live or is taken back. */
  readonly version: number;
  /** Observations in the window by source: `reference`, `feedback`, `agreement`, `logprob`. */
  readonly evidence: Readonly<Record<string, number>>;
  /** How each source is read as quality (docs/formulation.md), with an error of this variance. */
  readonly sources: readonly {
    readonly source: string;
    readonly centre: number;
    readonly level: number;
    readonly slope: number;
    readonly variance: number;
    readonly pairs: number;
  }[];
  /** Error on observations that are never fitted, with the corrections and without; null while there are none. */
  readonly heldBack: {
    readonly observations: number;
    readonly errorWith: number | null;
    readonly errorWithout: number | null;
  };
  readonly experts: readonly LearnedExpertView[];
  /** What exploring may have cost so far, as a share of the quality of the answers given otherwise, and the most it may. */
  readonly exploration: {
    readonly requests: number;
    readonly explored: number;
    readonly spent: number;
    readonly most: number;
  };
  /** What is added to the value of an expert so that it gets the plan's share of a class; those that are not 0. */
  readonly biases: readonly { readonly classId: string; readonly expertId: string; readonly bias: number }[];
  readonly trials: readonly TrialView[];
  /** Newest first. */
  readonly events: readonly {
    readonly kind: string;
    readonly atMs: number;
    readonly version: number;
    readonly expertId: string;
    readonly observations: number;
    readonly judges: number;
    readonly errorBefore: number;
    readonly errorAfter: number;
    readonly reason: string;
  }[];
}
/** POST /api/v1/experts/{id}/enrol answers 202 with it: how an expert is enrolled. */
export interface TrialView {
  readonly expertId: string;
  /** `enrolling`: answers only by name. `probation`: `auto` may explore with it. `serving`: like any other. */
  readonly state: 'enrolling' | 'probation' | 'serving';
  /** Labelled prompts that it was scored on, and how many there are for it. */
  readonly done: number;
  readonly of: number;
  readonly energyJ: number;
  /** What it waits for, or why it ended early; null while neither. */
  readonly reason: string | null;
}
export interface LearnedExpertView {
  readonly expertId: string;
  readonly observations: Readonly<Record<string, number>>;
  /** Batches that were rejected since the last one that was not. */
  readonly rejections: number;
  /** Quality by class, as trained and as corrected; empty while no correction is in use. */
  readonly classes: readonly { readonly classId: string; readonly trained: number; readonly corrected: number }[];
}

/** GET /api/v1/gate: how the gate is, what it holds of experts and classes, and how the traffic compares with its training. */
export interface GateView {
  readonly state: StatusView['gate']['state'];
  readonly why: string | null;
  readonly trainedOn: number;
  readonly experts: readonly GateExpertView[];
  readonly classes: readonly GateClassView[];
  readonly traffic: GateTrafficView;
}
/** How special an expert is: domain specialisation index, generalisation gap, cross-domain transfer ratio; null for one class alone. */
export interface GateExpertView {
  readonly id: string;
  /** False for one that is scored from its card. */
  readonly isTrained: boolean;
  readonly home: string | null;
  readonly dsi: number | null;
  readonly gg: number | null;
  readonly cdtr: number | null;
}
export interface GateClassView {
  readonly id: string;
  readonly label: string;
  /** Learned from outcomes, or found in the traffic since `sinceMs`; null while classes are not followed. */
  readonly followed: {
    readonly origin: 'trained' | 'found';
    readonly sinceMs: number;
    readonly seen: number;
    /** How far its centre has moved from where it was, degrees. */
    readonly movedDeg: number;
  } | null;
  /** Share of the training prompts, and of the newest requests; null where there are none. */
  readonly trainedShare: number | null;
  readonly liveShare: number | null;
  /** Best first. */
  readonly experts: readonly {
    readonly id: string;
    readonly quality: number;
    readonly sd: number;
    /** Quality less that of the expert that is best in general, on this class. */
    readonly gain: number;
    /** Of a typical request of the class where it is cheapest to ask now; null where the plan serves the expert nowhere. */
    readonly energyJ: number | null;
    readonly latencyMs: number | null;
    /** Newest requests of the class that it answered. */
    readonly chosen: number;
  }[];
}
export interface GateTrafficView {
  /** The newest ones, which everything here is about. */
  readonly requests: number;
  readonly sinceMs: number | null;
  /** Population stability index of class shares against the training prompts; null without either. */
  readonly psi: number | null;
  readonly verdict: string | null;
  /** Share of prompts unlike the training data, and mean novelty, 0..1. */
  readonly novel: number | null;
  readonly meanNovelty: number | null;
  /** Requests without a prediction for their prompt, for whatever reason. */
  readonly abstained: number;
}
