/**
 * Every error code of Fleetgate. The kind says who must act:
 * `input` the caller, `dependency` the operator (or time), `invariant` us.
 * `docs/errors.md` describes each code; a test keeps the two equal.
 */
export const ERROR_KINDS = {
  'usage.invalid': 'input',
  'config.invalid': 'input',
  'request.invalid': 'input',
  'request.too-large': 'input',
  'request.not-found': 'input',
  'request.not-ended': 'input',
  'request.not-rateable': 'input',
  'request.key-reused': 'input',
  'auth.missing': 'input',
  'auth.invalid': 'input',
  'auth.forbidden': 'input',
  'key.unknown': 'input',
  'key.too-many': 'input',
  'enrol.bad-token': 'input',
  'enrol.name-taken': 'input',
  'enrol.too-many-attempts': 'input',
  'enrol.bad-request': 'input',
  'enrol.key-reused': 'input',
  'enrol.denied': 'input',
  'enrol.clock-off': 'input',
  'enrol.foreign-authority': 'input',
  'enrol.certificate-refused': 'input',
  'device.unknown': 'input',
  'model.unknown': 'input',
  'expert.invalid-card': 'input',
  'expert.exists': 'input',
  'board.unknown': 'input',
  'board.invalid': 'input',
  'board.unsupported': 'input',
  'board-config.invalid': 'input',
  'plan.unknown': 'input',
  'plan.infeasible': 'input',
  'plan.stale': 'input',
  'budget.invalid': 'input',
  'instance.invalid': 'input',
  'outcomes.invalid': 'input',
  'gate.invalid-model': 'input',
  'protocol.malformed': 'input',
  'protocol.unsupported-version': 'input',
  'protocol.too-large': 'input',
  'release.untrusted': 'input',
  'release.tampered': 'input',
  'release.downgraded': 'input',
  'release.failed': 'dependency',
  'rollout.unknown': 'input',
  'rollout.ended': 'input',
  'rollout.conflict': 'input',
  'gguf.malformed': 'input',
  'gguf.unsupported': 'input',
  'artefact.corrupt': 'dependency',
  'artefact.unavailable': 'dependency',
  'artefact.disk-full': 'dependency',
  'broker.unreachable': 'dependency',
  'broker.refused': 'dependency',
  'broker.cannot-share': 'dependency',
  'leader.fenced': 'dependency',
  'controller.unreachable': 'dependency',
  'controller.crashed': 'dependency',
  'store.unavailable': 'dependency',
  'store.corrupt': 'dependency',
  'data-dir.not-writable': 'dependency',
  'data-dir.in-use': 'dependency',
  'port.taken': 'dependency',
  'engine.unavailable': 'dependency',
  'engine.crashed': 'dependency',
  'engine.timeout': 'dependency',
  'engine.out-of-memory': 'dependency',
  'job.rejected': 'dependency',
  'job.unreadable': 'dependency',
  'job.queue-full': 'dependency',
  'job.expired': 'dependency',
  'job.cancelled': 'dependency',
  'device.lost': 'dependency',
  'request.rate-limited': 'dependency',
  'dispatch.no-capacity': 'dependency',
  'dispatch.no-plan': 'dependency',
  'dispatch.over-budget': 'dependency',
  'dispatch.over-latency': 'dependency',
  'dispatch.loading': 'dependency',
  'dispatch.deadline': 'dependency',
  'solver.failed': 'dependency',
  'solver.timeout': 'dependency',
  'board.not-permitted': 'dependency',
  'board.not-applied': 'dependency',
  'setup.missing': 'dependency',
  'internal.invariant': 'invariant',
} as const satisfies Record<string, 'input' | 'dependency' | 'invariant'>;

export type ErrorCode = keyof typeof ERROR_KINDS;
export type ErrorKind = (typeof ERROR_KINDS)[ErrorCode];

export interface FleetErrorOptions {
  /** What a person can do about it. */
  readonly hint?: string;
  /** Whether the same call may succeed later, unchanged. Default: false. */
  readonly retryable?: boolean;
  /** Ids and values for the log: never prompt text or secrets. */
  readonly context?: Readonly<Record<string, string | number | boolean | null>>;
  readonly cause?: unknown;
}

/** An error with a stable code. Compare by `code`, never by text. */
export class FleetError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retryable: boolean;
  readonly context: Readonly<Record<string, string | number | boolean | null>>;

  constructor(code: ErrorCode, message: string, options: FleetErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'FleetError';
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
    this.context = options.context ?? {};
  }

  get kind(): ErrorKind {
    return ERROR_KINDS[this.code];
  }
}

export function isFleetError(error: unknown, code?: ErrorCode): error is FleetError {
  return error instanceof FleetError && (code === undefined || error.code === code);
}

/** For a case that cannot happen: `default: return unreachable(value)` does not compile while a case is missing. */
export function unreachable(value: never): never {
  throw new FleetError('internal.invariant', `unexpected value ${JSON.stringify(value)}`);
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
