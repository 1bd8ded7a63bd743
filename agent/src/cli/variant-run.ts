import { createHash } from 'node:crypto';
import { join } from 'node:path';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { FleetError, isFleetError } from '@fleetgate/shared/errors';
import { SeededRandom } from '@fleetgate/shared/random';

import { importanceOf, type ScoreName } from '../slabs/importance.js';
import { keepPlan } from '../slabs/keep-plan.js';
import type { SlabProfile } from '../slabs/profile.js';
import { ALL_TASKS } from '../variants/catalogue.js';
import type { BuildOrder } from '../variants/disk-variant-builder.js';
import { type BitsByTask, meanOf, type TaskTexts } from '../variants/engine-scorer.js';
import { type Genome, genomeKey } from '../variants/genome.js';
import type { SearchLog } from '../variants/search-state.js';
import { searchProblem, type SearchRun, searchVariants } from '../variants/variant-search.js';
import { costOf, describeSpec, genesOf, specOf, type VariantSpace } from '../variants/variant-space.js';
import type { VariantOptions } from './gguf-variants.js';
import { tell, type Workbench } from './variant-workbench.js';

/** Builds that are compared with each other: for all tasks, or for some of them. */
export interface Scope {
  readonly name: string;
  /** Undefined: all. */
  readonly tasks: readonly string[] | undefined;
}

export function scopeOf(name: string): Scope {
  return { name, tasks: name === ALL_TASKS ? undefined : [name] };
}

interface Parts {
  readonly bench: Workbench;
  readonly space: VariantSpace;
  readonly board: BoardProfile;
  readonly options: VariantOptions;
  readonly log: SearchLog;
  /** Undefined for a dense model, and where all slabs stay. */
  readonly profile: SlabProfile | undefined;
}

/** Builds, measures and remembers variants of one model. */
export class VariantRun {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async search(scope: Scope, texts: readonly TaskTexts[], evaluations: number): Promise<SearchRun> {
    const { space, board, options } = this.#parts;
    const mostBytes = options.maxBytes ?? board.memoryBytes.value - board.reservedBytes;
    checkSmallest(space, board, mostBytes);
    const own = texts.filter(({ task }) => scope.tasks?.includes(task) ?? true);
    const source = await this.#measured(scope, genomeOfSource(space), own, 'search');
    const problem = searchProblem(space, board, meanOf(source), { mostBytes, worstLoss: options.maxLoss });
    let done = 0;
    return searchVariants(
      { space, board, problem },
      async (genome) => this.#measured(scope, genome, own, 'search'),
      { evaluations, method: options.method, random: new SeededRandom(options.seed) },
      (genome, bits, search) => {
        done++;
        const { sizeBytes, decodeJPerToken } = costOf(space, specOf(space, genome), board);
        tell(
          `${scope.name}: ${done} of ${evaluations}: ${meanOf(bits).toFixed(4)} bits/byte, ` +
            `${(sizeBytes / 1e6).toFixed(2)} MB, ${(1000 * decodeJPerToken).toFixed(3)} mJ/token: ` +
            `${describeSpec(space, specOf(space, genome))} (front ${search.front.length}, volume ${search.volume.toFixed(4)})`,
        );
      },
    );
  }

  /** Bits per byte on texts of all tasks that the search did not see. */
  async heldOut(scope: Scope, genome: Genome, texts: readonly TaskTexts[]): Promise<BitsByTask> {
    return this.#measured(scope, genome, texts, 'held-out');
  }

  /** How to build a genome; slabs are kept for the scope's tasks. */
  order(scope: Scope, genome: Genome, output: string): BuildOrder {
    const { space, profile, options } = this.#parts;
    const spec = specOf(space, genome);
    const how = describeSpec(space, spec);
    if (spec.keep === undefined || profile === undefined) return { spec, how, output };
    const tasks = scope.tasks ?? Object.keys(profile.tasks);
    const { score } = options;
    const rules = { keep: spec.keep, slabsPerToken: profile.model.slabsPerToken, groups: space.slabGroups };
    const sets = keepPlan(importanceOf(profile, tasks, score), rules);
    return { spec, kept: { sets, score, task: scope.name }, how, output };
  }

  async #measured(
    scope: Scope,
    genome: Genome,
    texts: readonly TaskTexts[],
    part: 'search' | 'held-out',
  ): Promise<BitsByTask> {
    const { bench, log } = this.#parts;
    const key = [part, scope.name, genomeKey(genome)].join(' ');
    const known = log.get(key);
    if (known !== undefined) return known;
    const output = join(bench.folder, 'measured.gguf');
    const order = this.order(scope, genome, output);
    await bench.builder.build(order, bench.signal);
    const served = { path: output, slabsPerToken: order.spec.slabsPerToken };
    const bits = await bench.scorer
      .bitsPerByte(served, texts, bench.signal)
      .catch((error: unknown) => cannotMeasure(order.how, error));
    log.put(key, bits);
    return bits;
  }
}

/** Refuses a search in which no build fits. */
function checkSmallest(space: VariantSpace, board: BoardProfile, mostBytes: number): void {
  const smallest = specOf(
    space,
    genesOf(space).map(({ choices }) => choices.length - 1),
  );
  const { sizeBytes } = costOf(space, smallest, board);
  if (sizeBytes <= mostBytes) return;
  throw new FleetError(
    'usage.invalid',
    `the smallest build takes ${sizeBytes} bytes, expected at most ${mostBytes} (${board.id} or --max-bytes)`,
    { hint: 'narrower --types, smaller --keep counts, or a larger board' },
  );
}

function cannotMeasure(how: string, error: unknown): never {
  if (!isFleetError(error) || error.code === 'job.cancelled') throw error;
  throw new FleetError(error.code, `the build "${how}" cannot be measured: ${error.message}`, {
    cause: error,
    hint: 'go on with --resume; if it happens again, leave one of its types out of --types (in another --out)',
  });
}

/** Digest of everything that a measurement depends on besides the model. */
export function settingsOf(space: VariantSpace, texts: readonly (readonly TaskTexts[])[], score: ScoreName): string {
  return createHash('sha256')
    .update(JSON.stringify([genesOf(space), texts, score]))
    .digest('hex');
}

export function genomeOfSource(space: VariantSpace): Genome {
  return genesOf(space).map(() => 0);
}
