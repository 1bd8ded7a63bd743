import { constrainedMemory, execPath, platform } from 'node:process';
import { release, totalmem } from 'node:os';

import type { SlabLayout } from '../gguf/slab-layout.js';
import { openLibc } from '../native/linux-libc.js';
import { ModelSource } from './disk-model-source.js';
import { kernelVersion, PROCESS_BYTES, type ResidencyFacts, SPARE_SHARE } from './residency-choice.js';
import { slabPages } from './slab-pages.js';

/**
 * Buffers of a large batch are there for slabs between batches, but no more than this share of what was planned for slabs:
 * those of a tiny model would hold all of it.
 */
const REGAINED_SHARE = 0.25;

export interface ServedSlabs {
  readonly path: string;
  readonly layout: SlabLayout;
  /** Bytes of slabs in memory at most. */
  readonly slabBudgetBytes: number;
  /** Of the sequences' caches. */
  readonly contextBytes: number;
  /** Buffers of an evaluation of so many tokens. */
  readonly evaluationBytes: (tokens: number) => number;
  /** The same as the plan counts them. */
  readonly plannedEvaluationBytes: number;
}

/** What this machine and the model's file offer. Throws `engine.unavailable` without libc, `artefact.unavailable`. */
export async function readResidencyFacts(served: ServedSlabs): Promise<ResidencyFacts> {
  const { path, layout, slabBudgetBytes, contextBytes, evaluationBytes, plannedEvaluationBytes } = served;
  const libc = await openLibc();
  const pages = slabPages(layout, libc.pageBytes);
  const managed = pages.ranges.reduce((sum, ranges) => sum + ranges.reduce((all, { bytes }) => all + bytes, 0), 0);
  const source = ModelSource.open(path);
  source.close();
  const { slabsBytes, otherBytes, slabBytes, slabsPerLayer, slabsPerToken } = layout;
  const limit = constrainedMemory?.() ?? 0;
  const planned = slabBudgetBytes + otherBytes + contextBytes + plannedEvaluationBytes + PROCESS_BYTES;
  return {
    platform,
    isTermux: execPath.includes('com.termux'),
    kernel: kernelVersion(release()),
    memoryBytes: Math.ceil(planned / (1 - SPARE_SHARE)),
    isLimited: limit > 0 && limit < totalmem(),
    slabsBytes,
    otherBytes,
    contextBytes,
    evaluationBytes,
    mostBudgetBytes: Math.floor((1 + REGAINED_SHARE) * slabBudgetBytes),
    slabBytes,
    slabsPerLayer,
    slabsPerToken,
    managedShare: managed / slabsBytes,
    pieces: pages.ranges.reduce((sum, ranges) => sum + ranges.length, 0),
    hasDirectReads: source.directFd !== undefined,
    // Where there are none, preparing the skeleton finds out, and loading takes longer.
    hasSparseFiles: true,
  };
}
