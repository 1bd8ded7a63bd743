import { messageOf } from '@fleetgate/shared/errors';
import type { ExpertId, VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { RolloutBook } from './rollout-book.js';
import { nextProbe, type Side, withProbe } from './rollout-evidence.js';
import type { RolloutRecord } from './rollout-record.js';

/** A prompt with the answer that it should have. */
export interface Probe {
  readonly id: string;
  readonly prompt: string;
  readonly completion: string;
}

/** No more are needed to tell a difference of some hundredths of quality. */
const MOST_PROBES = 200;
/** Between two looks. */
const AT_A_TIME = 8;

export interface RolloutProbesParts {
  readonly book: RolloutBook;
  readonly catalogue: Catalogue;
  /** Of an expert's own domains first. */
  readonly prompts: (expert: ExpertId) => Promise<readonly Probe[]>;
  /** Whether a variant is resident where it is wanted, and its devices have nothing else to do. */
  readonly isIdle: (variant: VariantId) => boolean;
  /** Quality of the reference answer by a variant, 0..1. */
  readonly score: (variant: VariantId, probe: Probe, signal: AbortSignal) => Promise<number>;
  readonly log: Logger;
}

/** Asks candidates and incumbents for the probability of reference answers, one at a time and on idle devices only. */
export class RolloutProbes {
  readonly #parts: RolloutProbesParts;
  readonly #prompts = new Map<ExpertId, readonly Probe[]>();
  readonly #abort = new AbortController();
  #work: Promise<void> | undefined;

  constructor(parts: RolloutProbesParts) {
    this.#parts = parts;
  }

  /** Begins with the next probe where there is one. */
  look(): void {
    if (this.#work !== undefined || this.#abort.signal.aborted) return;
    const next = this.#parts.book.records().find((record) => this.#wants(record));
    if (next === undefined || next.subject.kind !== 'variant') return;
    const { candidate, incumbent } = next.subject;
    this.#work = this.#probe(next.id, candidate, incumbent)
      .catch((error: unknown) => {
        if (!this.#abort.signal.aborted) {
          this.#parts.log.warn('rollout.probe-failed', { rolloutId: next.id, reason: messageOf(error) });
        }
      })
      .finally(() => {
        this.#work = undefined;
      });
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#work;
  }

  #wants({ state, gate, subject, evidence }: RolloutRecord): boolean {
    return (
      state === 'running' && gate.quality !== null && subject.kind === 'variant' && evidence.quality.n < MOST_PROBES
    );
  }

  /** Each in turn, where it can be asked. */
  async #probe(id: string, candidate: VariantId, incumbent: VariantId): Promise<void> {
    const { book, catalogue, isIdle, score } = this.#parts;
    const expert = catalogue.variants.get(incumbent)?.expertId;
    if (expert === undefined) return;
    const prompts = this.#prompts.get(expert) ?? (await this.#parts.prompts(expert));
    this.#prompts.set(expert, prompts);
    const sides: readonly (readonly [Side, VariantId])[] = [
      ['incumbent', incumbent],
      ['candidate', candidate],
    ];
    for (const [side, variant] of Array.from({ length: AT_A_TIME }, () => sides).flat()) {
      if (!this.#wants(book.record(id))) return;
      const { evidence } = book.record(id);
      const probe = nextProbe(evidence, side, prompts.slice(0, MOST_PROBES));
      if (probe === undefined || !isIdle(variant)) continue;
      const quality = await score(variant, probe, this.#abort.signal);
      const now = book.record(id);
      book.put({ ...now, evidence: withProbe(now.evidence, side, probe.id, quality) });
    }
  }
}
