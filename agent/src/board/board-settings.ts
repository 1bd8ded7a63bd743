import { applyConfig, type Board, describeStep } from '@fleetgate/firmware-configs/apply-config';
import { cpuGovernorOf, powerModeInForce } from '@fleetgate/firmware-configs/board-state';
import { refuseForeign } from '@fleetgate/firmware-configs/load-board-config';
import type { OwnSettings } from '@fleetgate/firmware-configs/plan-changes';
import { type BoardConfig, parseBoardConfig } from '@fleetgate/shared/catalogue/board-config';
import type { ReleaseManifest, SignedRelease } from '@fleetgate/shared/catalogue/release';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { BoardId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { ReleaseReport } from '@fleetgate/shared/protocol/twin';
import { type MessageError, toMessageError } from '@fleetgate/shared/protocol/version';
import { milliseconds } from '@fleetgate/shared/units/quantity';

/** A release that is in force, with its content. */
export interface KeptConfig {
  readonly release: SignedRelease;
  readonly text: string;
  /** That was in force before it: what a rollout goes back to. */
  readonly before?: ReleaseManifest | undefined;
}

export interface BoardSettingsParts {
  readonly boardId: BoardId;
  readonly board: Board;
  /** Why a release must not be taken. `any`: its number may be lower than one that was taken. */
  readonly check: (release: SignedRelease, number: 'not-lower' | 'any') => FleetError | undefined;
  /** Remembers durably that it was taken. */
  readonly accept: (manifest: ReleaseManifest) => void;
  /** Content of a release, its digest checked. Throws `artefact.*`. */
  readonly fetch: (manifest: ReleaseManifest, signal: AbortSignal) => Promise<string>;
  readonly kept: KeptConfig | undefined;
  readonly keep: (kept: KeptConfig) => void;
  readonly own: () => OwnSettings;
  readonly remember: (own: OwnSettings) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What the reported document says of power besides watts. */
export interface PowerSettings {
  readonly mode?: string;
  readonly cpuGovernor?: string;
}

interface Wish {
  readonly release: SignedRelease;
  readonly text: string | undefined;
  state: 'fetching' | 'stored' | 'active' | 'failed';
  error?: MessageError;
}

const RETRY = milliseconds(30_000);
/** Others may set the board too; what is reported is at most this old. */
const LOOK = milliseconds(60_000);

/**
 * Brings the board to the released settings that the controller wants and says how far it is: single writer of them on
 * this device. What fails leaves the board with the settings before it, which are reported beside the failure.
 */
export class BoardSettings {
  readonly #parts: BoardSettingsParts;
  #wish: Wish | undefined;
  #inForce: { readonly manifest: ReleaseManifest; readonly config: BoardConfig } | undefined;
  /** In force before that. */
  #before: ReleaseManifest | undefined;
  #power: PowerSettings = {};
  #converging: Promise<void> | undefined;
  #fetching = new AbortController();
  #cancelRetry = (): void => {};
  #stopLooking = (): void => {};
  #onChange = (): void => {};
  #stopped = false;

  constructor(parts: BoardSettingsParts) {
    this.#parts = parts;
  }

  /** Applies again what was in force before, and looks at the board from then on; `onChange`: there is news to report. */
  start(onChange: () => void): void {
    const { kept, clock } = this.#parts;
    this.#onChange = onChange;
    this.#stopLooking = clock.every(LOOK, () => void this.#look());
    if (kept === undefined) void this.#look();
    else {
      this.#before = kept.before;
      this.#want({ release: kept.release, text: kept.text, state: 'stored' });
    }
  }

  /** Takes up the release of a desired document; none leaves what is in force. */
  takeUp(release: SignedRelease | undefined): void {
    const present = this.#wish?.release.manifest;
    if (release === undefined) return;
    if (present !== undefined && isSame(present, release.manifest) && this.#wish?.state !== 'failed') return;
    this.#fetching.abort();
    this.#want({ release, text: undefined, state: 'fetching' });
  }

  get power(): PowerSettings {
    return this.#power;
  }

  get thermalCeilingC(): number | undefined {
    return this.#inForce?.config.thermalCeilingC;
  }

  releases(): ReleaseReport[] {
    const wish = this.#wish;
    const before = this.#inForce?.manifest;
    const reports: ReleaseReport[] =
      wish === undefined ? [] : [reportOf(wish.release.manifest, wish.state, wish.error)];
    if (before !== undefined && !(wish !== undefined && isSame(before, wish.release.manifest))) {
      reports.push(reportOf(before, 'active'));
    }
    return reports;
  }

  /** Ends a download; settings that are being changed are changed to their end. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#fetching.abort();
    this.#cancelRetry();
    this.#stopLooking();
    await this.#converging;
  }

  #want(wish: Wish): void {
    if (this.#stopped) return;
    this.#cancelRetry();
    this.#wish = wish;
    this.#onChange();
    this.#converging ??= this.#converge().finally(() => {
      this.#converging = undefined;
    });
  }

  /** Until the wish that was brought is still the wish. */
  async #converge(): Promise<void> {
    let brought: Wish | undefined;
    while (brought !== this.#wish && !this.#stopped) {
      brought = this.#wish;
      if (brought !== undefined) await this.#bring(brought);
      this.#onChange();
    }
  }

  async #bring(wish: Wish): Promise<void> {
    const { board, boardId, check, accept, keep, own, remember, log } = this.#parts;
    const { manifest } = wish.release;
    const about = { name: manifest.name, sequence: manifest.sequence };
    try {
      // What this device has, or had just before, cannot be played to it by somebody who kept an older one.
      const isKnown = wish.text !== undefined || (this.#before !== undefined && isSame(manifest, this.#before));
      const refusal = check(wish.release, isKnown ? 'any' : 'not-lower') ?? misnamed(manifest, boardId);
      if (refusal !== undefined) throw refusal;
      this.#fetching = new AbortController();
      const text = wish.text ?? (await this.#parts.fetch(manifest, this.#fetching.signal));
      wish.state = 'stored';
      const config = parseBoardConfig(text, `board config ${manifest.name}`);
      refuseForeign(config, boardId);
      const steps = await applyConfig(config, board, own(), remember);
      accept(manifest);
      if (this.#inForce !== undefined && !isSame(this.#inForce.manifest, manifest))
        this.#before = this.#inForce.manifest;
      keep({ release: wish.release, text, before: this.#before });
      this.#inForce = { manifest, config };
      wish.state = 'active';
      log.info('board-config.active', { ...about, steps: steps.map(describeStep) });
    } catch (error) {
      if (this.#wish === wish && !this.#stopped) this.#fail(wish, error);
    }
    await this.#look();
  }

  #fail(wish: Wish, error: unknown): void {
    const { clock, log } = this.#parts;
    const { name, sequence } = wish.release.manifest;
    wish.state = 'failed';
    wish.error = toMessageError(error);
    log.warn('board-config.failed', { name, sequence, reason: messageOf(error) });
    if (!wish.error.retryable) return;
    const { release, text } = wish;
    this.#cancelRetry = clock.after(RETRY, () => this.#want({ release, text, state: 'fetching' }));
  }

  async #look(): Promise<void> {
    try {
      const state = await this.#parts.board.read();
      const mode = powerModeInForce(state);
      const cpuGovernor = cpuGovernorOf(state);
      const power = { ...(mode === undefined ? {} : { mode }), ...(cpuGovernor === undefined ? {} : { cpuGovernor }) };
      const isNew = mode !== this.#power.mode || cpuGovernor !== this.#power.cpuGovernor;
      this.#power = power;
      if (isNew && !this.#stopped) this.#onChange();
    } catch (error) {
      this.#parts.log.debug('board.unread', { reason: messageOf(error) });
    }
  }
}

/** Releases of board configs are named by their board, so that those of one board follow each other. */
function misnamed({ name }: ReleaseManifest, boardId: BoardId): FleetError | undefined {
  if (name === boardId) return undefined;
  return new FleetError('board.unsupported', `a board config for ${name}, expected ${boardId}`, {
    hint: 'board configs are released under the id of their board',
  });
}

const isSame = (one: ReleaseManifest, other: ReleaseManifest): boolean =>
  one.name === other.name && one.sequence === other.sequence && one.sha256 === other.sha256;

function reportOf(
  { kind, name, sequence }: ReleaseManifest,
  state: ReleaseReport['state'],
  error?: MessageError,
): ReleaseReport {
  return { kind, name, sequence, state, ...(error === undefined ? {} : { error }) };
}
