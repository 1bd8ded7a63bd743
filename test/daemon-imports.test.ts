import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const STATIC_IMPORT = /^(?:import|export)\s+(?!type\s)(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm;

/** Packages that a file loads at once, itself and through our own files: what it takes memory for. */
function packagesOf(entry: string): readonly string[] {
  const seen = new Set<string>();
  const packages = new Set<string>();
  const open = [entry];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    for (const [, module = ''] of readFileSync(join(ROOT, path), 'utf8').matchAll(STATIC_IMPORT)) {
      const ours = /^@fleetgate\/([^/]+)\/(.+)$/.exec(module);
      if (ours !== null) open.push(`${ours[1]}/src/${ours[2]}.ts`);
      else if (module.startsWith('.')) open.push(normalize(join(dirname(path), module)).replace(/\.js$/, '.ts'));
      else if (!module.startsWith('node:')) packages.add(module);
    }
  }
  return [...packages].toSorted();
}

describe('the agent daemon', () => {
  it('loads five packages and no engine: models and what computes on them live in processes of their own', () => {
    expect(packagesOf('agent/src/cli/main.ts')).toEqual(['commander', 'zod']);
    expect(packagesOf('agent/src/cli/agent.ts')).toEqual(['commander', 'mqtt', 'pino', 'yaml', 'zod']);
  });
});
