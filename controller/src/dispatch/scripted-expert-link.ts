import type { DeviceId, JobId } from '@fleetgate/shared/ids';
import type { Job, JobOut, JobUsage, TokenChoice } from '@fleetgate/shared/protocol/job';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import { type Observable, Subject } from 'rxjs';

import type { ExpertLink } from './expert-link.js';

/** One job at a scripted agent: what the agent says of it, numbered as a real one would. */
export class ScriptedJob {
  readonly device: DeviceId;
  readonly job: Job;
  #seq = 0;
  readonly #say: (out: JobOut) => void;

  constructor(device: DeviceId, job: Job, say: (out: JobOut) => void) {
    this.device = device;
    this.job = job;
    this.#say = say;
  }

  accepted(queuePosition = 0): void {
    this.#say({ ...this.#head(), kind: 'accepted', queuePosition });
  }

  tokens(text: string, tokens = 1, ids?: number[], choices?: TokenChoice[]): void {
    const told = { ...(ids === undefined ? {} : { ids }), ...(choices === undefined ? {} : { choices }) };
    this.#say({ ...this.#head(), kind: 'tokens', text, tokens, ...told });
  }

  choices(choices: TokenChoice[]): void {
    this.#say({ ...this.#head(), kind: 'choices', choices });
  }

  done(
    finishReason: 'stop' | 'length' | 'cancelled' = 'stop',
    usage: Partial<JobUsage> = {},
    meanLogProb?: number,
  ): void {
    const sureness = meanLogProb === undefined ? {} : { meanLogProb };
    this.#say({ ...this.#head(), kind: 'done', finishReason, usage: { ...USAGE, ...usage }, ...sureness });
  }

  scored(
    bits: number,
    bytes: number,
    detail: { readonly promptBits?: number; readonly tokenBits?: number[] } = {},
  ): void {
    this.#say({ ...this.#head(), kind: 'scored', bits, bytes, usage: USAGE, ...detail });
  }

  embedded(vectors: string[]): void {
    this.#say({ ...this.#head(), kind: 'vectors', vectors });
    this.#say({ ...this.#head(), kind: 'embedded', usage: { ...USAGE, outputTokens: 0 } });
  }

  /** A step of a mixed answer: probabilities of tokens by id; what is missing to 1 is the rest. */
  next(step: number, probs: Readonly<Record<number, number>>, text = '', promptBits?: number): void {
    const ranked = Object.entries(probs).toSorted(([, a], [, b]) => b - a);
    const known = ranked.reduce((sum, [, p]) => sum + p, 0);
    this.#say({
      ...this.#head(),
      kind: 'next',
      step,
      ids: ranked.map(([id]) => Number(id)),
      logProbs: ranked.map(([, p]) => Math.min(0, Math.log(p))),
      restProb: Math.max(0, 1 - known),
      text,
      ...(promptBits === undefined ? {} : { promptBits }),
    });
  }

  failed(code: string, retryable = true): void {
    this.#say({ ...this.#head(), kind: 'failed', error: { code, message: `scripted ${code}`, retryable } });
  }

  /** Says something that never arrives. */
  skip(): void {
    this.#seq += 1;
  }

  #head(): { readonly v: typeof PROTOCOL_VERSION; readonly jobId: JobId; readonly seq: number } {
    return { v: PROTOCOL_VERSION, jobId: this.job.jobId, seq: this.#seq++ };
  }
}

const USAGE: JobUsage = {
  promptTokens: 7,
  outputTokens: 3,
  energyJ: 1.5,
  energySource: 'modelled',
  queueMs: 0,
  prefillMs: 10,
  decodeMs: 30,
};

/**
 * Agents that do as they are told, in process. `behave` is called with every job that is sent; without one, jobs wait in
 * `jobs` for a test to speak for their agents.
 */
export class ScriptedExpertLink implements ExpertLink {
  readonly jobs: ScriptedJob[] = [];
  readonly cancelled: { readonly device: DeviceId; readonly job: JobId; readonly reason: string }[] = [];
  /** Tokens chosen for `mix` jobs. */
  readonly continued: {
    readonly device: DeviceId;
    readonly job: JobId;
    readonly step: number;
    readonly token: number;
  }[] = [];
  readonly #out = new Subject<{ readonly deviceId: DeviceId; readonly out: JobOut }>();
  behave: (job: ScriptedJob) => void;
  /** Called with every token chosen for a `mix` job that was sent, as an agent would go on. */
  onNext: (job: ScriptedJob, step: number, token: number) => void = () => {};
  /** What `send` rejects with, while set. */
  sendFails: Error | undefined;

  constructor(behave: (job: ScriptedJob) => void = () => {}) {
    this.behave = behave;
  }

  get out$(): Observable<{ readonly deviceId: DeviceId; readonly out: JobOut }> {
    return this.#out;
  }

  async send(device: DeviceId, job: Job): Promise<void> {
    if (this.sendFails !== undefined) throw this.sendFails;
    const scripted = new ScriptedJob(device, job, (out) => this.say(device, out));
    this.jobs.push(scripted);
    // An agent answers through the broker: never within the call that sends.
    queueMicrotask(() => this.behave(scripted));
  }

  cancel(device: DeviceId, job: JobId, reason: string): void {
    this.cancelled.push({ device, job, reason });
  }

  next(device: DeviceId, job: JobId, step: number, token: number): void {
    this.continued.push({ device, job, step, token });
    const scripted = this.jobs.find((one) => one.job.jobId === job && one.device === device);
    if (scripted !== undefined) queueMicrotask(() => this.onNext(scripted, step, token));
  }

  /** A message as the broker delivers it. */
  say(deviceId: DeviceId, out: JobOut): void {
    this.#out.next({ deviceId, out });
  }
}
