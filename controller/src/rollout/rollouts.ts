import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import type { Random } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import type { Observable, Subscription } from 'rxjs';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { FleetSnapshot } from '../fleet/device.js';
import type { Leading } from '../platform/leading.js';
import type { AttemptFact } from '../fleet/attempt-fact.js';
import { checkSubject } from './check-subject.js';
import type { Placements } from './lingering.js';
import { MovesPerMinute } from './moves.js';
import type { ReleaseBook } from './release-book.js';
import type { RolloutBook } from './rollout-book.js';
import { rolloutDevices } from './rollout-devices.js';
import { NO_EVIDENCE, sideOf, withAttempt } from './rollout-evidence.js';
import type { RolloutProbes } from './rollout-probes.js';
import { isUnderWay, type RolloutRecord } from './rollout-record.js';
import type { RolloutRequest } from './rollout-spec.js';
import { rolloutRequestSchema } from './rollout-spec.js';
import { abortRollout, stepRollout } from './rollout-step.js';
import { devicesOfWave } from './wave-devices.js';

const STEP = milliseconds(1000);
/** What was observed is kept this often, steps. */
const KEEP_EVERY = 10;
const ID_CHARACTERS = 10;

export interface RolloutsParts {
  readonly book: RolloutBook;
  readonly fleet: { readonly view: FleetSnapshot };
  readonly catalogue: Catalogue;
  readonly releases: Pick<ReleaseBook, 'find'>;
  /** As planned, without what rollouts make of it; undefined while there is no plan. */
  readonly planned: () => Placements | undefined;
  readonly attempts$: Observable<AttemptFact>;
  readonly probes: RolloutProbes;
  readonly leading: Leading;
  /** Devices that may be changed within a minute, over all rollouts. */
  readonly movesPerMinute: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Replaces what devices have, wave by wave, and back where it does worse. The only writer of rollouts. Looks every second
 * at everything as it is now, so that it goes on where it was after a restart.
 */
export class Rollouts {
  readonly #parts: RolloutsParts;
  readonly #moves: MovesPerMinute;
  #stopClock: () => void = () => {};
  #subscription: Subscription | undefined;
  #steps = 0;

  constructor(parts: RolloutsParts) {
    this.#parts = parts;
    this.#moves = new MovesPerMinute(parts.movesPerMinute);
  }

  start(): void {
    const { attempts$, clock } = this.#parts;
    this.#subscription = attempts$.subscribe((fact) => this.#observe(fact));
    this.#stopClock = clock.every(STEP, () => this.#step());
  }

  async stop(): Promise<void> {
    this.#stopClock();
    this.#subscription?.unsubscribe();
    await this.#parts.probes.stop();
    await this.#parts.book.flush();
  }

  /** Throws `request.invalid`, `model.unknown`, `rollout.conflict`; rejects where it cannot be kept. */
  async create(request: RolloutRequest): Promise<RolloutRecord> {
    const { book, catalogue, clock, random, fleet, planned, releases } = this.#parts;
    const { subject, waves, gate } = rolloutRequestSchema.parse(request);
    checkSubject(subject, { catalogue, fleet: fleet.view, records: book.records(), releases });
    const about = rolloutDevices(
      { subject, devices: [] },
      fleet.view.values(),
      book.placementsOf(planned() ?? new Map()),
    );
    for (const [at, wave] of waves.entries()) {
      if (devicesOfWave(wave, [], about).length > 0) continue;
      throw new FleetError('request.invalid', `waves[${at}].devices: no device is in this wave`, {
        hint: `the rollout is about ${about.map(({ id }) => id).join(', ') || 'no device: nothing has the incumbent'}`,
      });
    }
    const now = clock.now();
    const id = `ro-${random.token(ID_CHARACTERS)}`;
    const record: RolloutRecord = {
      ...{ id, subject, waves, gate, state: 'running', wave: 0, devices: [], evidence: NO_EVIDENCE },
      ...{ createdAtMs: now, waveBeganAtMs: now },
    };
    await book.add(record);
    this.#parts.log.info('rollout.began', { rolloutId: id, ...subject });
    return record;
  }

  /** Throws `rollout.unknown`, and `rollout.ended` for one that is over; so do `resume` and `abort`. */
  pause(id: string): RolloutRecord {
    return this.#change(id, (record) => ({ ...record, state: 'paused', reason: 'paused by a person' }));
  }

  resume(id: string): RolloutRecord {
    // What was not shown while it stood still is no fault of the candidate.
    const waveBeganAtMs = this.#parts.clock.now();
    return this.#change(id, (record) => ({ ...record, state: 'running', reason: undefined, waveBeganAtMs }));
  }

  /** Every device gets the incumbent again. */
  abort(id: string): RolloutRecord {
    return this.#change(id, (record) => abortRollout(record, 'aborted by a person', this.#parts.clock.now()));
  }

  #change(id: string, change: (record: RolloutRecord) => RolloutRecord): RolloutRecord {
    const record = this.#parts.book.record(id);
    if (!isUnderWay(record)) {
      throw new FleetError('rollout.ended', `rollout ${id} is over: it was ${record.state}`, {
        hint: 'start another one; to go back from what was adopted, roll the former one out',
      });
    }
    this.#put(record, change(record));
    return this.#parts.book.record(id);
  }

  #observe(fact: AttemptFact): void {
    const { book, leading } = this.#parts;
    if (!leading.now()) return;
    for (const record of book.records()) {
      if (record.state !== 'running') continue;
      const side = sideOf(record, fact);
      if (side !== undefined) book.put({ ...record, evidence: withAttempt(record.evidence, side, fact) });
    }
  }

  #step(): void {
    const { book, clock, fleet, leading, planned, probes } = this.#parts;
    if (!leading.now()) return;
    const placements = planned();
    if (placements === undefined) return;
    for (const record of book.records()) {
      if (record.state !== 'running') continue;
      const nowMs = clock.now();
      const devices = rolloutDevices(record, fleet.view.values(), book.placementsOf(placements, record));
      const next = stepRollout(record, { devices, nowMs, movesLeft: this.#moves.left(nowMs) });
      this.#moves.count(Math.max(0, next.devices.length - record.devices.length), nowMs);
      this.#put(record, next);
    }
    probes.look();
    this.#steps += 1;
    if (this.#steps % KEEP_EVERY === 0) void book.flush();
  }

  #put(before: RolloutRecord, after: RolloutRecord): void {
    if (after === before) return;
    const { book, log } = this.#parts;
    book.put(after);
    const { id: rolloutId, state, wave, devices, reason } = after;
    const isNews = state !== before.state || wave !== before.wave || devices !== before.devices;
    if (isNews) log.info('rollout.stepped', { rolloutId, state, wave: wave + 1, devices: devices.length, reason });
  }
}
