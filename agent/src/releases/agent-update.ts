import type { ReleaseManifest, SignedRelease } from '@fleetgate/shared/catalogue/release';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import type { ReleaseReport } from '@fleetgate/shared/protocol/twin';
import { type MessageError, toMessageError } from '@fleetgate/shared/protocol/version';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { isSameProgram, type LaunchState, type Program } from '../launcher/launch-state.js';
import type { LauncherLink } from '../launcher/process-launcher-link.js';

export interface AgentUpdateParts {
  readonly launcher: LauncherLink;
  /** Why a release must not be taken. */
  readonly check: (release: SignedRelease) => FleetError | undefined;
  /** Remembers durably that it was taken. */
  readonly accept: (manifest: ReleaseManifest) => void;
  /** Brings a release and unpacks it for the launcher, durably. Throws `artefact.*`. */
  readonly unpack: (manifest: ReleaseManifest, signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What runs beside it in the same agent. */
export interface AgentAround {
  readonly onChange: () => void;
  /** Resolves when no job runs, or that takes too long. */
  readonly drain: () => Promise<void>;
}

interface Wish {
  readonly release: SignedRelease;
  state: 'fetching' | 'stored' | 'failed';
  error?: MessageError;
}

const RETRY = milliseconds(30_000);

/**
 * Brings the program that the controller wants to the launcher, and says how far that is. What runs, and what was given up,
 * the launcher decides and tells.
 */
export class AgentUpdate {
  readonly #parts: AgentUpdateParts;
  #around: AgentAround = { onChange: () => {}, drain: () => Promise.resolve() };
  #launch: LaunchState | undefined;
  #wish: Wish | undefined;
  #bringing: Promise<void> = Promise.resolve();
  #abort = new AbortController();
  #cancelRetry = (): void => {};

  constructor(parts: AgentUpdateParts) {
    this.#parts = parts;
  }

  start(around: AgentAround): void {
    this.#around = around;
    this.#parts.launcher.onState((state) => {
      this.#launch = state;
      around.onChange();
    });
  }

  /** Takes up the release of a desired document; none leaves what runs. */
  takeUp(release: SignedRelease | undefined): void {
    const present = this.#wish;
    if (release === undefined) return;
    const isSame = present !== undefined && isSameProgram(present.release.manifest, release.manifest);
    if (isSame && present.state !== 'failed') return;
    this.#want({ release, state: 'fetching' });
  }

  /** The agent does well: what a program on trial has to say. */
  healthy(): void {
    this.#parts.launcher.say({ kind: 'agent-healthy' });
  }

  releases(): ReleaseReport[] {
    const [running] = this.#launch?.stack ?? [];
    const reports: ReleaseReport[] = [];
    if (running !== undefined) reports.push(reportOf(running, this.#launch?.onTrial === true ? 'trial' : 'active'));
    const wish = this.#wish;
    if (wish === undefined || this.#runs(wish)) return reports;
    const failure = this.#failureOf(wish);
    const state = failure === undefined ? wish.state : 'failed';
    reports.push(reportOf(wish.release.manifest, state, failure ?? wish.error));
    return reports;
  }

  /** Ends a download. Idempotent. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#cancelRetry();
    await this.#bringing;
  }

  #want(wish: Wish): void {
    if (this.#wish !== undefined) this.#abort.abort();
    this.#cancelRetry();
    const abort = new AbortController();
    this.#abort = abort;
    this.#wish = wish;
    this.#bringing = this.#bringing.then(() => this.#bring(wish, abort.signal));
    this.#around.onChange();
  }

  async #bring(wish: Wish, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#runs(wish) || this.#failureOf(wish) !== undefined) return;
    const { check, accept, unpack, launcher, log } = this.#parts;
    const { manifest } = wish.release;
    const { name, sequence, sha256 } = manifest;
    try {
      if (this.#launch === undefined) throw notLaunched();
      const refusal = check(wish.release);
      if (refusal !== undefined) throw refusal;
      await unpack(manifest, signal);
      wish.state = 'stored';
      this.#around.onChange();
      await this.#around.drain();
      if (signal.aborted) return;
      accept(manifest);
      log.info('agent-release.offered', { name, sequence });
      launcher.say({ kind: 'agent-offer', program: { name, sequence, sha256 } });
    } catch (error) {
      if (!signal.aborted) this.#fail(wish, error);
    }
  }

  #fail(wish: Wish, error: unknown): void {
    const { name, sequence } = wish.release.manifest;
    wish.state = 'failed';
    wish.error = toMessageError(error);
    this.#parts.log.warn('agent-release.failed', { name, sequence, reason: messageOf(error) });
    this.#around.onChange();
    if (!wish.error.retryable) return;
    const { release } = wish;
    this.#cancelRetry = this.#parts.clock.after(RETRY, () => this.#want({ release, state: 'fetching' }));
  }

  #runs({ release }: Wish): boolean {
    const [running] = this.#launch?.stack ?? [];
    return running !== undefined && isSameProgram(running, release.manifest);
  }

  #failureOf({ release }: Wish): MessageError | undefined {
    const failed = this.#launch?.failed.find((program) => isSameProgram(program, release.manifest));
    if (failed === undefined) return undefined;
    const { name, sequence, reason } = failed;
    return toMessageError(
      new FleetError('release.failed', `release ${sequence} of agent ${name} was given up: ${reason}`, {
        hint: 'its log on the device says why; a new release, of the same content if need be, is tried again',
      }),
    );
  }
}

function notLaunched(): FleetError {
  return new FleetError('setup.missing', 'this agent was not started by a launcher, which could exchange it', {
    hint: 'start it by `fleetgate launch` in place of `fleetgate agent`',
  });
}

const reportOf = ({ name, sequence }: Program, state: ReleaseReport['state'], error?: MessageError): ReleaseReport => ({
  kind: 'agent',
  name,
  sequence,
  state,
  ...(error === undefined ? {} : { error }),
});
