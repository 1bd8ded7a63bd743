import type { Importance } from '../slabs/importance.js';
import { PromptRouting } from '../slabs/prompt-routing.js';
import type { KeepSets } from '../slabs/routing.js';
import {
  LEAST_SIMILARITY,
  type NearestPattern,
  nearestPattern,
  type PatternLikeness,
  patternLikeness,
  type ServedTask,
  type ServedTasks,
} from '../slabs/task-patterns.js';
import type { SlabModel } from './slab-model.js';
import type { BatchToken } from './token-batch.js';

/** What tokens that are evaluated together have in common. */
export interface Company {
  /** The slabs that they are computed with; undefined: all. */
  readonly keep: KeepSets | undefined;
  /** Learns how the router chose for them: tokens of one sequence, one after the other. */
  readonly observes: PromptRouting | undefined;
}

export interface SlabTasksShape {
  readonly layers: number;
  readonly slabsPerLayer: number;
  /** Active ones, as the model was loaded. */
  readonly slabsPerToken: number;
  readonly contextTokens: number;
  /** What reading ahead for a task may bring in, bytes. */
  readonly budgetBytes: number;
}

/** Which tasks the prompts in a host's sequences are of (TAER): watches their routing, and finds the nearest pattern. */
export class SlabTasks {
  readonly #served: ServedTasks;
  readonly #shape: SlabTasksShape;
  readonly #routing = new Map<number, Company & { readonly observes: PromptRouting }>();
  readonly #masks: ReadonlyMap<ServedTask, Company>;

  constructor(served: ServedTasks, shape: SlabTasksShape) {
    this.#served = served;
    this.#shape = shape;
    this.#masks = new Map(served.tasks.map((task) => [task, { keep: task.keep, observes: undefined }]));
  }

  /** Whether answers are computed with the slabs of their task only. */
  get masks(): boolean {
    return this.#served.tasks.some(({ keep }) => keep !== undefined);
  }

  get patterns(): PatternLikeness {
    return patternLikeness(this.#served.tasks);
  }

  get budgetBytes(): number {
    return this.#shape.budgetBytes;
  }

  /** For the prompt of a sequence: evaluated by itself, so that it is known whose tokens the router chose for. */
  observing(sequence: number): Company {
    return this.#observed(sequence);
  }

  /** For an answer of a task: evaluated with others of the same one. */
  maskOf(task: ServedTask): Company | undefined {
    return this.#masks.get(task);
  }

  /** What the sequence holds from a position on is gone. */
  forget(sequence: number, from: number): void {
    this.#routing.get(sequence)?.observes.forget(from);
  }

  /** Of what was observed of the sequence; undefined where it is like none of the tasks. */
  nearest(sequence: number): NearestPattern<ServedTask> | undefined {
    return nearestPattern(this.importance(sequence), this.#served.tasks, LEAST_SIMILARITY);
  }

  /** How the router chose on what was observed of the sequence. */
  importance(sequence: number): Importance {
    return this.#observed(sequence).observes.importance;
  }

  #observed(sequence: number): Company & { readonly observes: PromptRouting } {
    const known = this.#routing.get(sequence);
    if (known !== undefined) return known;
    const made = { keep: undefined, observes: new PromptRouting(this.#shape, this.#shape.contextTokens) };
    this.#routing.set(sequence, made);
    return made;
  }
}

/** Evaluates tokens of one company. Throws what `SlabModel.evaluate` does. */
export function evaluateTogether(model: SlabModel, tokens: readonly BatchToken[], company: Company | undefined): void {
  const { keep, observes } = company ?? {};
  const [first] = tokens;
  try {
    model.keep = keep;
    if (observes !== undefined && first !== undefined) {
      model.listener = {
        probabilities: true,
        onRouted: (routed) => {
          // The last layer is computed for tokens with an output only: whose they are is not said.
          if (routed.tokens === tokens.length) observes.routed(routed, first.position);
        },
      };
    }
    model.evaluate(tokens);
  } finally {
    model.keep = undefined;
    model.listener = undefined;
  }
}
