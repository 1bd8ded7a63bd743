import type { Clock } from '@fleetgate/shared/clock';
import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import type { Random } from '@fleetgate/shared/random';
import { elapsed, type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import { backoff } from '@fleetgate/shared/backoff';
import { type DeviceCertificate, renewalTime } from './device-certificate.js';

const FIRST_RETRY = milliseconds(60_000);
const LONGEST_RETRY = milliseconds(3_600_000);
/** Clocks are set now and then: what is due is looked at anew at least this often. */
const LONGEST_WAIT = milliseconds(21_600_000);

export interface CertificateRenewalParts {
  readonly kept: DeviceCertificate | undefined;
  /** Keeps the certificate durably before it is used. */
  readonly keep: (certificate: DeviceCertificate) => void;
  /**
   * A new one from the controller by proof of the present one, or by the device's secret where there is none yet.
   * Undefined: this fleet has no certificates.
   */
  readonly fetch: (present: DeviceCertificate | undefined) => Promise<DeviceCertificate | undefined>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Keeps the device's certificate current: the single writer of it. Sessions take the newest when they begin. */
export class CertificateRenewal {
  readonly #parts: CertificateRenewalParts;
  #current: DeviceCertificate | undefined;
  #attempt = 0;
  #cancel = (): void => {};
  #stopped = false;

  constructor(parts: CertificateRenewalParts) {
    this.#parts = parts;
    this.#current = parts.kept;
  }

  current(): DeviceCertificate | undefined {
    return this.#current;
  }

  /** Looks whether one is due, and goes on looking. Resolves after the first look; never rejects. */
  async start(): Promise<void> {
    await this.#look();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  async #look(): Promise<void> {
    const { clock, random, log } = this.#parts;
    const present = this.#current;
    const due = present === undefined ? clock.now() : renewalTime(present);
    let wait: Milliseconds = elapsed(clock.now(), due);
    if (wait <= 0) {
      try {
        await this.#renew(present);
        this.#attempt = 0;
        wait = this.#current === undefined ? LONGEST_WAIT : elapsed(clock.now(), renewalTime(this.#current));
      } catch (error) {
        const isRefused = isFleetError(error) && !error.retryable;
        wait = isRefused ? LONGEST_RETRY : this.#nextTry(random);
        const told = { reason: messageOf(error), retryMs: Math.round(wait) };
        if (isRefused) log.error('certificate.refused', told);
        else log.warn('certificate.not-renewed', told);
      }
    }
    if (this.#stopped) return;
    this.#cancel = clock.after(milliseconds(Math.min(Math.max(wait, 1000), LONGEST_WAIT)), () => void this.#look());
  }

  #nextTry(random: Random): Milliseconds {
    const wait = backoff(this.#attempt, FIRST_RETRY, LONGEST_RETRY, random);
    this.#attempt += 1;
    return wait;
  }

  async #renew(present: DeviceCertificate | undefined): Promise<void> {
    const { fetch, keep, log } = this.#parts;
    const renewed = await fetch(present);
    if (renewed === undefined) return;
    keep(renewed);
    this.#current = renewed;
    log.info('certificate.renewed', { renewAtMs: renewalTime(renewed) });
  }
}
