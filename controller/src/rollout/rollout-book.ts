import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { DeviceId, VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { type Observable, Subject } from 'rxjs';

import type { Placements } from './lingering.js';
import { boardsOf, substituted } from './rollout-devices.js';
import { isUnderWay, type RolloutRecord } from './rollout-record.js';
import type { RolloutStore } from './rollout-store.js';

/** All rollouts that are kept. Anyone may read it; only `Rollouts` writes. */
export class RolloutBook {
  readonly #store: RolloutStore;
  readonly #boardOf: (device: DeviceId) => string | undefined;
  readonly #log: Logger;
  readonly #changes = new Subject<RolloutRecord>();
  #records: ReadonlyMap<string, RolloutRecord> = new Map();
  /** Another object whenever what devices are to have may be another. */
  #version: object = {};
  #writing: Promise<void> = Promise.resolve();
  #unsaved = new Map<string, RolloutRecord>();

  constructor(store: RolloutStore, boardOf: (device: DeviceId) => string | undefined, log: Logger) {
    this.#store = store;
    this.#boardOf = boardOf;
    this.#log = log;
  }

  /** Reads what is kept, also what another controller has kept meanwhile. */
  async load(): Promise<void> {
    const records = await this.#store.load();
    const before = this.#records;
    this.#records = new Map(records.map((record) => [record.id, record]));
    for (const record of records) {
      const known = before.get(record.id);
      if (known?.state !== record.state || known.devices.length !== record.devices.length) this.#tell(record);
    }
  }

  /** The same object while `placementsOf` and `withheld` answer the same. */
  get version(): object {
    return this.#version;
  }

  /** A rollout whose state or devices have changed. */
  get changes$(): Observable<RolloutRecord> {
    return this.#changes;
  }

  /** Newest first. */
  records(): readonly RolloutRecord[] {
    return [...this.#records.values()];
  }

  /** Throws `rollout.unknown`. */
  record(id: string): RolloutRecord {
    const record = this.#records.get(id);
    if (record !== undefined) return record;
    throw new FleetError('rollout.unknown', `there is no rollout ${JSON.stringify(id)}`, {
      hint: '`fleetgate rollouts list` shows those that are kept',
    });
  }

  /** What rollouts make of a plan, but for one of them. The same object while none wants a change. */
  placementsOf(planned: Placements, but?: RolloutRecord): Placements {
    // Oldest first: what took an incumbent's place may have lost it since.
    const records = this.records()
      .filter(({ id }) => id !== but?.id)
      .toReversed();
    return substituted(planned, records, this.#boardOf);
  }

  /** Variants that plans are not to place: candidates that have not been adopted, and incumbents whose place was taken. */
  withheld(): ReadonlySet<VariantId> {
    const withheld = new Set<VariantId>();
    for (const record of this.#records.values()) {
      const { subject, state } = record;
      if (subject.kind !== 'variant' || state === 'aborted') continue;
      if (state !== 'adopted') withheld.add(subject.candidate);
      // Other boards go on with it.
      else if (boardsOf(record) === undefined) withheld.add(subject.incumbent);
    }
    return withheld;
  }

  /** Rejects where it cannot be kept; then nothing has changed. */
  async add(record: RolloutRecord): Promise<void> {
    await this.#store.save([record]);
    this.#records = new Map([[record.id, record], ...this.#records]);
    this.#tell(record);
  }

  /** Takes effect at once and is kept soon after; a step that was lost with the process is taken again. */
  put(record: RolloutRecord): void {
    const before = this.#records.get(record.id);
    if (before === undefined || before === record) return;
    this.#records = new Map(this.#records).set(record.id, record);
    this.#unsaved.set(record.id, record);
    const isNews = before.state !== record.state || before.devices !== record.devices || before.wave !== record.wave;
    if (isNews) this.#tell(record);
    if (isNews || !isUnderWay(record)) void this.flush();
  }

  #tell(record: RolloutRecord): void {
    this.#version = {};
    this.#changes.next(record);
  }

  /** Keeps what is not yet kept. Never rejects. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const records = [...this.#unsaved.values()];
      if (records.length === 0) return;
      this.#unsaved = new Map();
      try {
        await this.#store.save(records);
      } catch (error) {
        this.#log.error('rollout.not-saved', { reason: messageOf(error) });
        for (const record of records) if (!this.#unsaved.has(record.id)) this.#unsaved.set(record.id, record);
      }
    });
    return this.#writing;
  }
}
