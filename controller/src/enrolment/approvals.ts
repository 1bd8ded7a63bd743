import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';

import type { EnrolmentStore, Waiting } from './enrolment-store.js';

/** Devices that wait, or were denied; the one that asked longest ago makes room. */
const MOST_WAITING = 1000;

/** Who asks: a device with a good token. */
export type Applicant = Pick<Waiting, 'name' | 'board' | 'nonceSha256' | 'keySha256' | 'address'>;

/** Devices that a person has to let in: the single writer of who waits. */
export class Approvals {
  readonly #store: EnrolmentStore;
  readonly #clock: Clock;
  readonly #waiting: Map<string, Waiting>;

  private constructor(store: EnrolmentStore, clock: Clock, waiting: readonly Waiting[]) {
    this.#store = store;
    this.#clock = clock;
    this.#waiting = new Map(waiting.map((one) => [one.name, one]));
  }

  static async open(store: EnrolmentStore, clock: Clock): Promise<Approvals> {
    return new Approvals(store, clock, await store.waiting());
  }

  /** Takes up who asked, and what was decided, at another controller. */
  async reload(): Promise<void> {
    const waiting = await this.#store.waiting();
    this.#waiting.clear();
    for (const one of waiting) this.#waiting.set(one.name, one);
  }

  list(): readonly Waiting[] {
    return [...this.#waiting.values()];
  }

  /** The one who asked before, under the same name, from the same board, with the same nonce and key. */
  find(applicant: Applicant): Waiting | undefined {
    const known = this.#waiting.get(applicant.name);
    const same =
      known?.nonceSha256 === applicant.nonceSha256 &&
      known.board === applicant.board &&
      known.keySha256 === applicant.keySha256;
    return same ? known : undefined;
  }

  /** Whether one of that name, board and nonce has asked before. */
  knows(name: string, board: string, nonceSha256: string): boolean {
    const known = this.#waiting.get(name);
    return known?.nonceSha256 === nonceSha256 && known.board === board;
  }

  /** Has `applicant` wait. One who waits under that name already keeps its place: `enrol.name-taken`. */
  async add(applicant: Applicant): Promise<void> {
    const known = this.#waiting.get(applicant.name);
    if (known !== undefined && known.verdict !== 'denied') {
      throw new FleetError('enrol.name-taken', `another device waits under the name ${applicant.name}`, {
        hint: `choose another name, or deny the other one: \`fleetgate devices deny ${applicant.name}\``,
      });
    }
    const { name, board, nonceSha256, keySha256, address } = applicant;
    const asking: Waiting = {
      name,
      board,
      nonceSha256,
      keySha256,
      address,
      askedAt: this.#clock.now(),
      verdict: 'none',
    };
    this.#waiting.delete(name);
    this.#waiting.set(name, asking);
    await this.#store.putWaiting(asking);
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size > MOST_WAITING && oldest !== undefined) await this.forget(oldest);
  }

  /** Throws `device.unknown` when nobody waits under that name. */
  async decide(name: string, verdict: 'approved' | 'denied'): Promise<void> {
    const known = this.#waiting.get(name);
    if (known === undefined) {
      throw new FleetError('device.unknown', `no device named ${JSON.stringify(name)} waits to be let in`, {
        hint: '`fleetgate devices pending` lists those that do',
      });
    }
    const decided = { ...known, verdict };
    this.#waiting.set(name, decided);
    await this.#store.putWaiting(decided);
  }

  async forget(name: string): Promise<void> {
    if (this.#waiting.delete(name)) await this.#store.removeWaiting(name);
  }
}
