import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { DeviceId } from '@fleetgate/shared/ids';
import type { Reported } from '@fleetgate/shared/protocol/twin';

import type { CostProfile } from '../../telemetry/cost.js';
import type { Exclusion } from '../candidates.js';

/** A variant that is placed, and where it and its expert are in the lists of all that are. */
export interface PlacedVariant {
  readonly variant: Variant;
  readonly variantAt: number;
  readonly expertAt: number;
}

/** One variant on one of the devices that the plan places it on. */
export interface Copy extends PlacedVariant {
  readonly deviceId: DeviceId;
  /** What the device says of it. */
  readonly reported: Reported['variants'][number] | undefined;
  /** Most tokens that it is to be served with. */
  readonly contextTokens: number;
  /** Undefined where nothing is known of its costs. */
  readonly profile: CostProfile | undefined;
}

const column = (length: number): Float64Array => new Float64Array(length);

/**
 * All copies, a row each. A decision goes through all of them, and would wait for memory were they objects: what it reads and
 * writes stands in columns of numbers.
 */
export class CopyTable {
  /** The rows as they were put in; for the few that are looked at one by one. */
  readonly copies: (Copy | undefined)[];
  readonly variantAt: Int32Array;
  readonly expertAt: Int32Array;
  readonly contextTokens: Float64Array;
  /** Why it may not be chosen whatever is asked, where that is not the device's fault. */
  readonly fault: (Exclusion | undefined)[];
  /** NaN where nothing is known of its costs. */
  readonly baseMs: Float64Array;
  readonly promptMs: Float64Array;
  readonly outputMs: Float64Array;
  readonly baseJ: Float64Array;
  readonly promptJ: Float64Array;
  readonly outputJ: Float64Array;

  // What the present decision makes of each, until the next one.
  readonly quality: Float64Array;
  /** On an idle device, ms; 0 where it has no cost, as energy (J) and wait (ms) are. */
  readonly latency: Float64Array;
  readonly energy: Float64Array;
  /** Before it would start. */
  readonly wait: Float64Array;
  /** At the request's prices; -Infinity where it has no cost. */
  readonly value: Float64Array;
  readonly excluded: (Exclusion | undefined)[];

  constructor(readonly length: number) {
    this.copies = Array.from({ length });
    this.variantAt = new Int32Array(length);
    this.expertAt = new Int32Array(length);
    this.contextTokens = column(length);
    this.fault = Array.from({ length });
    this.baseMs = column(length);
    this.promptMs = column(length);
    this.outputMs = column(length);
    this.baseJ = column(length);
    this.promptJ = column(length);
    this.outputJ = column(length);
    this.quality = column(length);
    this.latency = column(length);
    this.energy = column(length);
    this.wait = column(length);
    this.value = column(length);
    this.excluded = Array.from({ length });
  }

  put(at: number, copy: Copy): void {
    const { contextTokens, expertAt, profile, reported, variantAt } = copy;
    this.copies[at] = copy;
    this.variantAt[at] = variantAt;
    this.expertAt[at] = expertAt;
    this.contextTokens[at] = contextTokens;
    this.fault[at] =
      reported?.residency !== 'resident' ? 'not-resident' : profile === undefined ? 'cost-unknown' : undefined;
    this.baseMs[at] = profile?.baseMs ?? NaN;
    this.promptMs[at] = profile?.promptMs ?? NaN;
    this.outputMs[at] = profile?.outputMs ?? NaN;
    this.baseJ[at] = profile?.baseJ ?? NaN;
    this.promptJ[at] = profile?.promptJ ?? NaN;
    this.outputJ[at] = profile?.outputJ ?? NaN;
  }

  copyAt(at: number): Copy {
    const copy = this.copies[at];
    if (copy === undefined) throw new RangeError(`there is no copy ${at}`);
    return copy;
  }

  /** Whether one comes before another: as `byPreference` (`select.ts`) ranks candidates. */
  precedes(one: number, other: number): boolean {
    const isOpen = this.excluded[one] === undefined;
    if (isOpen !== (this.excluded[other] === undefined)) return isOpen;
    const value = this.value[one] ?? 0;
    const otherValue = this.value[other] ?? 0;
    return value === otherValue ? this.#isFirstOfEqual(one, other) : value > otherValue;
  }

  #isFirstOfEqual(one: number, other: number): boolean {
    const later =
      this.#answerTime(one) - this.#answerTime(other) || (this.energy[one] ?? 0) - (this.energy[other] ?? 0);
    if (later !== 0) return later < 0;
    const copy = this.copyAt(one);
    const otherCopy = this.copyAt(other);
    if (copy.variantAt === otherCopy.variantAt) return copy.deviceId < otherCopy.deviceId;
    return copy.variant.id < otherCopy.variant.id;
  }

  #answerTime(at: number): number {
    return (this.latency[at] ?? 0) + (this.wait[at] ?? 0);
  }
}
