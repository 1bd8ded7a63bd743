import type { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';

/** Jobs of a scripted engine that run, and how they are ended from outside. */
export class ScriptedJobs {
  readonly #running = new Map<AbortController, VariantId>();

  /** `run` is told by its signal when it is to end, by the caller's abort or by one of the methods below. */
  async during<T>(variant: VariantId, signal: AbortSignal, run: (job: AbortSignal) => Promise<T>): Promise<T> {
    const job = new AbortController();
    this.#running.set(job, variant);
    try {
      return await run(AbortSignal.any([signal, job.signal]));
    } finally {
      this.#running.delete(job);
    }
  }

  /** As if they crashed with this. */
  failAll(error: FleetError): void {
    for (const job of this.#running.keys()) job.abort(error);
  }

  cancel(variant: VariantId): void {
    for (const [job, owner] of this.#running) if (owner === variant) job.abort();
  }
}
