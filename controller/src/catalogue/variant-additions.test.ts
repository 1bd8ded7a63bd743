import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { ManualClock } from '@fleetgate/shared/clock';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { variantId } from '@fleetgate/shared/ids';
import { type LogFields, type Logger, silentLogger } from '@fleetgate/shared/logger';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { writeLora } from '../../../agent/src/gguf/lora.fixture.js';
import { type OpenCatalogue, openCatalogue } from './disk-catalogue.js';
import { MemoryExpertStore } from './expert-store.js';
import { variantRequestSchema } from './variant-additions.js';

const EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));

let folder: string;
let adapter: string;
let store: MemoryExpertStore;
let excluded: LogFields[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-additions-'));
  mkdirSync(join(folder, 'artefacts'));
  for (const name of ['math', 'moe']) cpSync(join(EXPERTS, name), join(folder, 'experts', name), { recursive: true });
  adapter = join(folder, 'poet.gguf');
  writeLora(adapter, await readGguf(join(EXPERTS, 'math', 'math-q8_0.gguf')), ['blk.0.attn_q.weight']);
  store = new MemoryExpertStore();
  excluded = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const log: Logger = { ...silentLogger, error: (_event, fields = {}) => excluded.push(fields) };
const open = (): Promise<OpenCatalogue> =>
  openCatalogue(
    { expertsDir: join(folder, 'experts'), artefactsDir: join(folder, 'artefacts') },
    store,
    new ManualClock(),
    log,
  );
const poet = (parts: object = {}) => ({
  name: 'math-poet',
  how: 'poet',
  adapter: { source: adapter },
  loss: { math: 0.1 },
  ...parts,
});

describe('variants with an adapter', () => {
  it('are of the same file, with the adapter kept on the shelf, also after a restart without its source', async () => {
    const content = readFileSync(adapter);
    const sha256 = createHash('sha256').update(content).digest('hex');
    const first = await open();
    const base = first.registry.variants.get(variantId('math-q8_0'));
    const made = await first.variantAdditions.add('math', poet());
    expect(made).toMatchObject({ sha256: base?.sha256, sizeBytes: base?.sizeBytes, made: { from: 'math-q8_0' } });
    expect(made.serving).toEqual({ adapters: [{ sha256, sizeBytes: content.length, scale: 1 }] });
    expect(made.facts.memoryBytes).toBe((base?.facts.memoryBytes ?? 0) + content.length);
    rmSync(adapter);
    const kept = join(folder, 'artefacts', `${sha256}.gguf`);
    for (const { registry } of [first, await open()]) {
      expect(registry.variants.get(made.id)).toEqual(made);
      expect(registry.pathOf(sha256)).toBe(kept);
    }
    expect(readFileSync(kept).equals(content)).toBe(true);
    rmSync(kept);
    expect((await open()).registry.variants.has(made.id)).toBe(false);
    expect(excluded).toMatchObject([{ what: 'math-poet', code: 'artefact.unavailable' }]);
  });

  it('lay several over one file, by one another', async () => {
    const { variantAdditions, registry } = await open();
    const once = await variantAdditions.add('math', poet({ adapter: { source: adapter, scale: 0.5 } }));
    const twice = await variantAdditions.add('math', poet({ name: 'math-poet-2', from: 'math-poet' }));
    expect(twice.serving?.adapters?.map(({ scale }) => scale)).toEqual([0.5, 1]);
    expect(twice.facts.memoryBytes - once.facts.memoryBytes).toBe(statSync(adapter).size);
    await variantAdditions.remove('math-poet');
    expect(registry.pathOf(once.serving?.adapters?.[0]?.sha256 ?? '')).toBeDefined();
  });

  it.each([
    ['an adapter of another model', 'moe', {}, 'gguf.unsupported'],
    ['a model', 'math', { adapter: { source: join(EXPERTS, 'math', 'math-q8_0.gguf') } }, 'gguf.unsupported'],
    ['no file', 'math', { adapter: { source: '/none.gguf' } }, 'artefact.unavailable'],
    ['an adapter whose loss nobody knows', 'math', { loss: {} }, 'request.invalid'],
    ['slabs of a dense model', 'math', { serving: { slabsPerToken: 1 } }, 'request.invalid'],
  ])('are refused for %s, and leave nothing behind', async (_, expert, parts, code) => {
    const { variantAdditions, registry } = await open();
    const before = registry.variants.size;
    await expect(variantAdditions.add(expert, poet(parts))).rejects.toMatchObject({ code });
    expect(registry.variants.size).toBe(before);
    expect(await store.made()).toEqual([]);
  });

  it('are asked for by a file, not by a digest', () => {
    const serving = { adapters: [{ sha256: 'a'.repeat(64), sizeBytes: 1, scale: 1 }] };
    expect(variantRequestSchema.safeParse({ name: 'x', how: 'x', serving }).success).toBe(false);
    expect(variantRequestSchema.safeParse(poet({ adapter: { source: 'a', scale: Infinity } })).success).toBe(false);
    expect(variantRequestSchema.parse(poet()).adapter).toEqual({ source: adapter, scale: 1 });
  });
});
