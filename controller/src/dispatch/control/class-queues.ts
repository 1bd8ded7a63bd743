import type { ClassId } from '@fleetgate/shared/ids';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

import type { ControlFacts, ControlledClass } from './control-facts.js';
import { MeanQueue } from './rate-queue.js';

/** Backlog that makes a request at the bound cost the whole quality scale, in requests: V of the bounds on means. */
const TRADE_OFF_REQUESTS = 100;
/** Requests short of the served share that are worth the whole quality scale. */
const FLOOR_REQUESTS = 10;
/**
 * Most that being answered is worth besides the answer: twice the quality scale. Budgets that serving everybody would break
 * then turn the lightest class away first.
 */
const MOST_SERVED = 2;

interface Queues {
  readonly energy: MeanQueue;
  readonly latency: MeanQueue;
  /** Requests short of the share that has to be served. */
  short: number;
}

export interface ClassPrices {
  readonly weight: number;
  readonly perJoule: number;
  readonly perSecond: number;
  readonly served: number;
}

const FREE: ClassPrices = { weight: 1, perJoule: 0, perSecond: 0, served: 0 };

/** Virtual queues of each class's bounds on the mean latency and energy of its requests, and on the share that is served. */
export class ClassQueues {
  readonly #byClass = new Map<ClassId, Queues>();

  pricesOf(facts: ControlFacts, classId: ClassId | undefined): ClassPrices {
    const bounds = classId === undefined ? undefined : facts.classes.get(classId);
    if (classId === undefined || bounds === undefined) return FREE;
    const queues = this.#byClass.get(classId);
    if (queues === undefined) return { ...FREE, weight: bounds.weight };
    const { energyMean, latencyMean, weight } = bounds;
    return {
      weight,
      perJoule: energyMean === undefined ? 0 : queues.energy.backlog / TRADE_OFF_REQUESTS / energyMean,
      perSecond: queues.latency.backlog / TRADE_OFF_REQUESTS / (latencyMean / 1000),
      served: Math.min(MOST_SERVED, queues.short / FLOOR_REQUESTS),
    };
  }

  backlogOf(
    classId: ClassId,
  ): { readonly energy: number; readonly latency: number; readonly short: number } | undefined {
    const queues = this.#byClass.get(classId);
    return queues && { energy: queues.energy.backlog, latency: queues.latency.backlog, short: queues.short };
  }

  taken(facts: ControlFacts, classId: ClassId | undefined, latency: Milliseconds, energyJ: number): void {
    this.#with(facts, classId, ({ energyMean, latencyMean, minServed }, queues) => {
      if (energyMean !== undefined) queues.energy.take(energyJ, energyMean);
      queues.latency.take(latency, latencyMean);
      queues.short = Math.max(0, queues.short + minServed - 1);
    });
  }

  turnedAway(facts: ControlFacts, classId: ClassId | undefined): void {
    this.#with(facts, classId, ({ minServed }, queues) => {
      queues.short = Math.min(MOST_SERVED * FLOOR_REQUESTS, queues.short + minServed);
    });
  }

  correctEnergy(facts: ControlFacts, classId: ClassId | undefined, predictedJ: number, actualJ: number): void {
    this.#with(facts, classId, ({ energyMean }, queues) => {
      if (energyMean !== undefined) queues.energy.correct(predictedJ, actualJ, energyMean);
    });
  }

  correctLatency(
    facts: ControlFacts,
    classId: ClassId | undefined,
    predicted: Milliseconds,
    actual: Milliseconds,
  ): void {
    this.#with(facts, classId, ({ latencyMean }, queues) => queues.latency.correct(predicted, actual, latencyMean));
  }

  /** Backlogs that make the plan's duals the prices, where more has not been run up. Classes that are gone are forgotten. */
  warm(facts: ControlFacts): void {
    for (const classId of this.#byClass.keys()) if (!facts.classes.has(classId)) this.#byClass.delete(classId);
    for (const [classId, { energyMean, energyPrice, latencyMean, latencyPrice }] of facts.classes) {
      if (energyPrice <= 0 && latencyPrice <= 0) continue;
      this.#with(facts, classId, (_, { energy, latency }) => {
        if (energyMean !== undefined) energy.raise(energyPrice * energyMean * TRADE_OFF_REQUESTS);
        latency.raise(latencyPrice * (latencyMean / 1000) * TRADE_OFF_REQUESTS);
      });
    }
  }

  #with(
    facts: ControlFacts,
    classId: ClassId | undefined,
    change: (bounds: ControlledClass, queues: Queues) => void,
  ): void {
    const bounds = classId === undefined ? undefined : facts.classes.get(classId);
    if (classId === undefined || bounds === undefined) return;
    const queues = this.#byClass.get(classId) ?? { energy: new MeanQueue(), latency: new MeanQueue(), short: 0 };
    this.#byClass.set(classId, queues);
    change(bounds, queues);
  }
}
