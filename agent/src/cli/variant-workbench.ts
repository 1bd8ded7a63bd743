import { mkdir, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

import { systemClock } from '@fleetgate/shared/clock';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { modelFacts } from '@fleetgate/shared/gguf/facts';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { digestOf } from '../artefacts/disk-digest.js';
import { createLlamaEngine } from '../engine/llama-engine.js';
import { VariantBuilder } from '../variants/disk-variant-builder.js';
import { VariantScorer } from '../variants/engine-scorer.js';

export interface Workbench {
  readonly path: string;
  readonly header: GgufHeader;
  readonly sha256: string;
  readonly contextTokens: number;
  readonly threads: number;
  readonly builder: VariantBuilder;
  readonly scorer: VariantScorer;
  /** For files of the moment; gone with the workbench unless it was named. */
  readonly folder: string;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

interface WorkbenchOptions {
  readonly threads: number;
  /** Where builds of the moment go: about the size of the model for each type. Default: a folder beside the output. */
  readonly work?: string | undefined;
  /** Whether the model in each type is to stay there, for another run. */
  readonly keepsTypes?: boolean;
}

const WATCHDOG = milliseconds(30_000);
/** Long enough for texts to measure on; a model's own context may be so long that its cache does not fit. */
const MOST_CONTEXT = 2048;
/** Folders of the moment; the process's number follows. */
const WORK = '.fleetgate-variants-';

/** Everything that building and measuring variants of one model needs, ended and cleaned up whatever `use` does. */
export async function onWorkbench<T>(
  file: string,
  options: WorkbenchOptions,
  use: (bench: Workbench) => Promise<T>,
): Promise<T> {
  const path = resolve(file);
  const header = await readGguf(path);
  const facts = modelFacts(header, path);
  const contextTokens = Math.min(MOST_CONTEXT, facts.contextTokens);
  const work = resolve(options.work ?? tmpdir());
  const folder = join(work, `${WORK}${process.pid}`);
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const engine = createLlamaEngine({
    threads: options.threads,
    sequences: 1,
    gpu: 'off',
    // Only the slab-aware one can use fewer active slabs than the file says.
    hosts: facts.slabsPerLayer > 0 ? 'slabs' : 'models',
    watchdog: WATCHDOG,
    log: silentLogger,
    clock: systemClock,
  });
  try {
    await mkdir(folder, { recursive: true });
    await removeAbandoned(work);
    const sha256 = await digestOf(path, abort.signal);
    const bank = join(options.keepsTypes === true ? work : folder, `types-${sha256.slice(0, 12)}`);
    const builder = new VariantBuilder({ path, header, sha256, folder: bank, threads: options.threads });
    const scorer = new VariantScorer(engine, contextTokens);
    return await use({
      ...{ path, header, sha256, contextTokens, builder, scorer, folder },
      ...{ threads: options.threads, signal: abort.signal },
    });
  } finally {
    await engine.close();
    await rm(folder, { recursive: true, force: true });
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

/** Folders of processes that were killed. */
async function removeAbandoned(work: string): Promise<void> {
  for (const name of await readdir(work)) {
    if (!name.startsWith(WORK) || isRunning(Number(name.slice(WORK.length)))) continue;
    await rm(join(work, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    return Number.isInteger(pid) && process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** The folder that a file is to be written to. */
export function folderOf(file: string): string {
  return dirname(resolve(file));
}

export function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
