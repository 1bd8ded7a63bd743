import { closeSync, openSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';

import { FleetError } from '@fleetgate/shared/errors';

import type { SlabLayout } from '../gguf/slab-layout.js';
import { type Libc, openLibc } from '../native/linux-libc.js';
import { type CachePolicy, decayedFrequency } from '../slabs/cache-policy.js';
import { Prefetch, type PrefetchRule } from '../slabs/prefetch.js';
import { SlabCache } from '../slabs/slab-cache.js';
import { ModelSource } from './disk-model-source.js';
import { prepareSkeleton } from './disk-skeleton.js';
import { CacheResidency } from './linux-cache-residency.js';
import { HintResidency } from './linux-hint-residency.js';
import { type FileMapping, findMapping } from './linux-mapping.js';
import { SlabPlaces } from './linux-slab-places.js';
import type { SlabResidency } from './residency.js';
import { slabPages, type SlabPages } from './slab-pages.js';
import { SlabReads, type SlowWait } from './worker-slab-reads.js';

export interface SlabsInMemory {
  readonly path: string;
  readonly layout: SlabLayout;
  readonly strategy: 'hint' | 'cache';
  /** For `cache`: bytes of slabs in memory at most. */
  readonly budgetBytes: number;
  /** For `cache`: the same while so many tokens are evaluated at once, where that makes a difference. */
  readonly budgetOf?: (tokens: number) => number;
  /** Threads that read; by default the kernel does it by itself where it can. */
  readonly readers?: number;
  /** Uses per token of each slab (`layer * slabsPerLayer + slab`) in the task's profile; the memory is filled by it. */
  readonly frequencies?: ArrayLike<number>;
  /** In place of decayed frequency. */
  readonly policy?: CachePolicy;
  /** Where the skeleton is kept; beside the model by default. Null: the model itself is loaded, wholly. */
  readonly skeletonFolder?: string | null;
  /** For `hint`: also wait until pages are mapped. */
  readonly populate?: boolean;
  /** When slabs are read before their router has chosen them; default: where that is measured to pay. */
  readonly prefetch?: PrefetchRule;
  readonly stallMs?: number;
  readonly onWaiting?: (wait: SlowWait) => void;
}

export interface PreparedSlabs {
  /** What llama.cpp is to load, by mapping it. */
  readonly loadPath: string;
  /** Why llama.cpp has to read the whole model to load it; undefined where it need not. */
  readonly wholeLoad: string | undefined;
  /**
   * To be called once the model is loaded, on the thread that evaluates. With `as`, by that strategy in place of the one
   * asked for: what is attached later takes over from what was before, which is to be closed.
   */
  attach(as?: 'hint'): Promise<SlabResidency>;
}

const STALL_MS = 30_000;
/** The kernel's default; a process may have that many mappings. */
const MOST_MAPPINGS = 65_530;
const OTHER_MAPPINGS = 4096;

/**
 * Prepares a model for keeping its slabs in memory by `hint` or `cache`.
 *
 * Throws `engine.unavailable` where this system cannot do it (then `hint`, then `none` are left), `artefact.unavailable`
 * where the file cannot be read.
 */
export async function prepareSlabs(options: SlabsInMemory): Promise<PreparedSlabs> {
  const libc = await openLibc();
  const path = realpathSync(options.path);
  const pages = slabPages(options.layout, libc.pageBytes);
  const pieces = pages.ranges.reduce((sum, ranges) => sum + ranges.length, 0);
  if (options.strategy === 'cache' && 2 * pieces + OTHER_MAPPINGS > MOST_MAPPINGS) {
    throw new FleetError(
      'engine.unavailable',
      `${path}: its ${pieces} pieces of slabs need more mappings than there are`,
      {
        hint: 'use residency `hint`',
      },
    );
  }
  const skeleton = await skeletonOf(path, pages, options);
  const loadPath = typeof skeleton === 'string' ? path : skeleton.path;
  let mapping: FileMapping | undefined;
  return {
    loadPath,
    wholeLoad: typeof skeleton === 'string' ? skeleton : undefined,
    attach: (as) => {
      // What is laid over it hides the places from the list of mappings.
      mapping ??= findMapping(realpathSync(loadPath));
      return attach({ libc, pages, path, loadPath, mapping, options, strategy: as ?? options.strategy });
    },
  };
}

async function skeletonOf(path: string, pages: SlabPages, options: SlabsInMemory): Promise<{ path: string } | string> {
  if (options.skeletonFolder === null) return 'no skeleton is wanted';
  const folder = options.skeletonFolder ?? dirname(path);
  try {
    return (await prepareSkeleton(path, folder, pages.spans)) ?? `${folder} is on a file system without sparse files`;
  } catch (error) {
    // Loading then takes as long as reading the model; nothing else depends on it.
    return error instanceof Error ? error.message : String(error);
  }
}

interface Attaching {
  readonly libc: Libc;
  readonly pages: SlabPages;
  readonly path: string;
  readonly loadPath: string;
  readonly mapping: FileMapping;
  readonly options: SlabsInMemory;
  readonly strategy: SlabsInMemory['strategy'];
}

async function attach(attaching: Attaching): Promise<SlabResidency> {
  const { libc, pages, path, loadPath, mapping, options, strategy } = attaching;
  const source = ModelSource.open(path);
  if (strategy === 'hint') {
    const { populate = false } = options;
    const overSkeleton = loadPath !== path;
    const residency = new HintResidency({ libc, pages, mapping, source, overSkeleton, populate });
    if (overSkeleton) forgetHoles(libc, loadPath);
    return residency;
  }
  const slabs = pages.layers * pages.slabsPerLayer;
  const policy = options.policy ?? decayedFrequency(slabs, options.frequencies);
  const { slabsPerLayer, slabBytes } = pages;
  const cache = new SlabCache({ slabsPerLayer, slabBytes, capacityBytes: options.budgetBytes }, policy);
  const reads = await SlabReads.open({
    source,
    threads: options.readers ?? 'kernel',
    stallMs: options.stallMs ?? STALL_MS,
    onWaiting: options.onWaiting,
  });
  const places = new SlabPlaces(libc, mapping, pages);
  if (loadPath !== path) forgetHoles(libc, loadPath);
  const residency = new CacheResidency({
    ...{ pages, places, source, cache, reads },
    prefetch: new Prefetch(pages, options.prefetch),
    budgetOf: options.budgetOf,
  });
  if (options.frequencies !== undefined) residency.fill();
  return residency;
}

/**
 * llama.cpp has every page of a mapping read when it loads a model: those of a skeleton's holes, a zero for every byte of the
 * slabs, would push out what is of use. Pages that are mapped stay.
 */
function forgetHoles(libc: Libc, skeleton: string): void {
  const fd = openSync(skeleton, 'r');
  try {
    libc.forgetCached(fd, 0, 0);
  } finally {
    closeSync(fd);
  }
}
