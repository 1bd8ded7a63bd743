import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { FleetError } from '@fleetgate/shared/errors';

import { readOutcomes } from '../gating/disk-outcomes.js';
import type { ValidationPair } from './disk-validation-pairs.js';

const FLEETGATE = fileURLToPath(new URL('../../bin/fleetgate.mjs', import.meta.url));
const LONGEST_MESSAGE = 2_000;

/** Bits per byte of each pair's reference answer, by expert; undefined for a pair that could not be scored. */
export type OfflineScores = readonly (Readonly<Record<string, number>> | undefined)[];

/**
 * Scores reference answers under every bundled expert with `fleetgate outcomes`, the command that made the gate's
 * training data: for experts that the running plan serves nowhere. Same engine, this machine, outside the fleet.
 */
export async function scoreOffline(
  pairs: readonly ValidationPair[],
  expertsDir: string,
  signal: AbortSignal,
): Promise<OfflineScores> {
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-bench-'));
  try {
    const ids: string[] = [];
    for (const domain of new Set(pairs.map((pair) => pair.domain))) {
      const own = [...pairs.entries()].filter(([, pair]) => pair.domain === domain);
      own.forEach(([at], line) => (ids[at] = `${domain}-${line}`));
      const text = own.map(([, pair]) => `${JSON.stringify(pair)}\n`).join('');
      await writeFile(join(folder, `${domain}.train.jsonl.gz`), gzipSync(text));
    }
    const out = join(folder, 'outcomes.jsonl.gz');
    await runOutcomes(['--experts', expertsDir, '--texts', folder, '--per-domain', '10000', '--out', out], signal);
    const scores = new Map<string, Readonly<Record<string, number>>>();
    for await (const { id, bpb } of readOutcomes(out, signal)) if (bpb !== undefined) scores.set(id, bpb);
    return ids.map((id) => scores.get(id));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runOutcomes(options: readonly string[], signal: AbortSignal): Promise<void> {
  const child = spawn(process.execPath, [FLEETGATE, 'outcomes', ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
  const stop = () => child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-LONGEST_MESSAGE)));
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    signal.throwIfAborted();
    if (code !== 0) {
      throw new FleetError('engine.unavailable', `fleetgate outcomes ended with ${code}: ${said.trim()}`, {
        hint: 'the experts that the plan does not serve are scored by it; --experts names their folder',
      });
    }
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
