import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { ExpertAdditionView } from '@fleetgate/shared/api/operations';
import { ManualClock } from '@fleetgate/shared/clock';
import { type LogFields, type Logger, silentLogger } from '@fleetgate/shared/logger';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Database } from '../platform/database.js';
import { openDatabase } from '../platform/sqlite-database.js';
import { type OpenCatalogue, openCatalogue } from './disk-catalogue.js';
import { aRegisteredExpert, aVariant, FACTS } from './expert.fixture.js';
import { type ExpertStore, MemoryExpertStore } from './expert-store.js';
import { expertSchemaOfDatabase, SqliteExpertStore } from './sqlite-expert-store.js';

const EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));
const MODEL = join(EXPERTS, 'math', 'math-q8_0.gguf');

let folder: string;
let store: ExpertStore;
let excluded: LogFields[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-catalogue-'));
  store = new MemoryExpertStore();
  excluded = [];
  for (const name of ['math', 'code']) cpSync(join(EXPERTS, name), join(folder, 'experts', name), { recursive: true });
  mkdirSync(join(folder, 'artefacts'));
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
const names = ({ registry }: OpenCatalogue): readonly string[] => [...registry.experts.keys()].sort();
const ended = async ({ additions }: OpenCatalogue, id: string): Promise<ExpertAdditionView['progress']> => {
  for (;;) {
    const progress = additions.view(id)?.progress;
    if (progress?.state === 'ready' || progress?.state === 'failed') return progress;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

describe.each(['memory', 'sqlite'] as const)('ExpertStore in %s', (kind) => {
  let database: Database | undefined;
  let stored: ExpertStore;
  beforeEach(async () => {
    if (kind === 'sqlite') database = await openDatabase(join(folder, 'control.sqlite'), [expertSchemaOfDatabase]);
    stored = database === undefined ? new MemoryExpertStore() : new SqliteExpertStore(database);
  });
  afterEach(async () => {
    await database?.close();
    database = undefined;
  });

  it('gives back experts and what was read from files', async () => {
    const added = aRegisteredExpert('law');
    await stored.keep(added);
    expect(await stored.added()).toEqual([added]);
    const [variant] = added.expert.variants;
    const read = { path: '/a', sizeBytes: 1, changedMs: 1.5, sha256: 'a'.repeat(64), facts: variant?.facts ?? never() };
    await stored.rememberArtefact({ ...read, sizeBytes: 9 });
    await stored.rememberArtefact(read);
    expect(await stored.artefact('/a')).toEqual(read);
    expect(await stored.artefact('/b')).toBeUndefined();
  });

  it('gives back variants made of others in the order in which they came, and forgets those dropped', async () => {
    const serving = { slabBudgetBytes: 1000 };
    const made = ['b', 'a'].map((name) => ({
      variant: { ...aVariant(name), serving, made: { from: aVariant('moe').id, how: 'half', loss: { math: 0.1 } } },
      path: `/models/${name}`,
    }));
    for (const one of made) await stored.keepMade(one);
    expect(await stored.made()).toEqual(made);
    await stored.dropMade(aVariant('b').id);
    expect(await stored.made()).toEqual(made.slice(1));
  });

  it('gives back experts that an earlier release kept, whose facts do not name the tokenizer', async () => {
    const { tokenizer: _, ...facts } = FACTS;
    const added = aRegisteredExpert('law', { facts });
    await stored.keep(added);
    expect(await stored.added()).toEqual([added]);
  });
});

describe('bundled experts', () => {
  it('are there with the facts of their files, and where the files lie', async () => {
    const { registry } = await open();
    const math = registry.experts.get([...registry.experts.keys()][1] ?? never());
    expect(math).toMatchObject({ id: 'math', licence: { spdx: 'Apache-2.0' } });
    const [variant] = math?.variants ?? [];
    expect(variant?.facts).toMatchObject({ architecture: 'llama', layers: 4 });
    expect(registry.pathOf(variant?.sha256 ?? '')).toBe(join(folder, 'experts', 'math', 'math-q8_0.gguf'));
  });

  it('are not read again while their files do not change', async () => {
    await open();
    const remember = store.rememberArtefact.bind(store);
    let reads = 0;
    store.rememberArtefact = (artefact) => ((reads += 1), remember(artefact));
    await open();
    expect(reads).toBe(0);
    writeFileSync(join(folder, 'experts', 'math', 'math-q8_0.gguf'), readFileSync(MODEL));
    await open();
    expect(reads).toBe(1);
  });

  it.each([
    ['another content', (file: Buffer) => file.fill(1, file.length - 100), 'artefact.corrupt'],
    ['a cut-off file', (file: Buffer) => file.subarray(0, 1000), 'expert.invalid-card'],
    ['noise', (file: Buffer) => Buffer.alloc(file.length, 7), 'gguf.malformed'],
  ])('are left out, with the reason, when a file holds %s; the others are served', async (_, damage, code) => {
    writeFileSync(join(folder, 'experts', 'math', 'math-q8_0.gguf'), damage(readFileSync(MODEL)));
    expect(names(await open())).toEqual(['code']);
    expect(excluded).toMatchObject([{ code, what: join(folder, 'experts', 'math') }]);
  });

  it('are left out when their card is no card', async () => {
    writeFileSync(join(folder, 'experts', 'code', 'expert.yaml'), 'name: [');
    expect(names(await open())).toEqual(['math']);
    expect(excluded).toMatchObject([{ code: 'expert.invalid-card' }]);
  });
});

describe('variants made of others', () => {
  const K1 = { name: 'moe-k1', how: 'one slab a token', serving: { slabsPerToken: 1 }, loss: { math: 0.1 } };
  beforeEach(() => cpSync(join(EXPERTS, 'moe'), join(folder, 'experts', 'moe'), { recursive: true }));

  it('join their expert, are there after a restart, and can be taken away', async () => {
    const first = await open();
    await first.variantAdditions.add('moe', K1);
    const half = { name: 'moe-half', how: 'half', serving: { slabBudgetBytes: 2_000_000 } };
    expect((await first.variantAdditions.add('moe', half)).facts.memoryBytes).toBeLessThan(
      [...first.registry.variants.values()].find(({ id }) => id === 'moe-k1')?.facts.memoryBytes ?? 0,
    );
    const second = await open();
    const ids = ({ registry }: OpenCatalogue) =>
      [...registry.experts.values()].flatMap(({ id, variants }) => (id === 'moe' ? variants.map((one) => one.id) : []));
    expect(ids(second)).toEqual(['moe-q8_0', 'moe-k1', 'moe-half']);
    await second.variantAdditions.remove('moe-k1');
    expect(ids(second)).toEqual(['moe-q8_0', 'moe-half']);
    expect(ids(await open())).toEqual(['moe-q8_0', 'moe-half']);
    rmSync(join(folder, 'experts', 'moe'), { recursive: true });
    expect(ids(await open())).toEqual([]);
    expect(excluded).toMatchObject([{ what: 'moe-half' }]);
  });

  it.each([
    ['an expert that is not there', 'none', K1, 'model.unknown'],
    ['a variant that the expert has not', 'moe', { ...K1, from: 'math-q8_0' }, 'model.unknown'],
    ['a name that is taken', 'moe', { ...K1, name: 'math-q8_0' }, 'expert.exists'],
    ['a bad name', 'moe', { ...K1, name: 'K 1' }, 'request.invalid'],
    ['a dense model', 'math', K1, 'request.invalid'],
    ['a file that is not there', 'moe', { ...K1, source: '/none.gguf' }, 'artefact.unavailable'],
  ])('are refused for %s', async (_, expert, request, code) => {
    await expect((await open()).variantAdditions.add(expert, request)).rejects.toMatchObject({ code });
  });

  it('are the only ones that can be taken away', async () => {
    await expect((await open()).variantAdditions.remove('moe-q8_0')).rejects.toMatchObject({ code: 'model.unknown' });
  });
});

describe('experts added by a user', () => {
  const file = (name: string, content: Buffer): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  /** A model that is not one of the bundled ones: the same with another last byte. */
  const another = (): Buffer => {
    const content = readFileSync(MODEL);
    content[content.length - 1] = (content[content.length - 1] ?? 0) ^ 1;
    return content;
  };

  it('come from a file, and are there after a restart without it', async () => {
    const first = await open();
    const path = file('Law-Q8_0.gguf', another());
    const view = await first.additions.add({ source: path, domains: ['law'] });
    expect(view).toMatchObject({ id: 'law', progress: { state: 'ready' } });
    rmSync(path);
    const second = await open();
    expect(
      second.registry.experts.get(
        first.registry.experts.get([...first.registry.experts.keys()][2] ?? never())?.id ?? never(),
      ),
    ).toMatchObject({
      domains: ['law'],
      variants: [{ id: 'law-q8_0', quantisation: 'Q8_0' }],
    });
    const kept = readdirSync(join(folder, 'artefacts'));
    expect(kept).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.gguf$/)]);
    rmSync(join(folder, 'artefacts', kept[0] ?? ''));
    expect(names(await open())).toEqual(['code', 'math']);
    expect(excluded).toMatchObject([{ code: 'artefact.unavailable', what: 'law' }]);
  });

  it('get their tokenizer from the file when an earlier release kept them without, once', async () => {
    const first = await open();
    await first.additions.add({ source: file('Law-Q8_0.gguf', another()), name: 'law' });
    const tokenizerOf = ({ registry }: OpenCatalogue, id: string) =>
      [...registry.experts.values()].find((expert) => expert.id === id)?.variants[0]?.facts.tokenizer;
    expect(tokenizerOf(first, 'law')).toBe(tokenizerOf(first, 'math'));
    const [kept] = await store.added();
    const variants = kept?.expert.variants.map((variant) => ({ ...variant, facts: { ...variant.facts } }));
    for (const { facts } of variants ?? []) delete facts.tokenizer;
    if (kept !== undefined) await store.keep({ ...kept, expert: { ...kept.expert, variants: variants ?? [] } });
    expect((await store.added())[0]?.expert.variants[0]?.facts).not.toHaveProperty('tokenizer');
    expect(tokenizerOf(await open(), 'law')).toMatch(/^[0-9a-f]{64}$/);
    expect((await store.added())[0]?.expert.variants[0]?.facts).toHaveProperty('tokenizer');
    expect(await store.added()).toHaveLength(1);
  });

  it.each([
    ['a name that is taken', () => file('x.gguf', another()), { name: 'math' }, 'expert.exists'],
    ['a file that is there already', () => MODEL, { name: 'law' }, 'expert.exists'],
    ['noise', () => file('noise.gguf', Buffer.alloc(4096, 7)), {}, 'gguf.malformed'],
    ['a cut-off model', () => file('half.gguf', readFileSync(MODEL).subarray(0, 700_000)), {}, 'gguf.malformed'],
    ['no file', () => join(folder, 'none.gguf'), {}, 'artefact.unavailable'],
    ['a bad name', () => file('x.gguf', another()), { name: 'No Name' }, 'request.invalid'],
  ])('are refused for %s, and leave nothing behind', async (_, source, more, code) => {
    const catalogue = await open();
    await expect(catalogue.additions.add({ source: source(), ...more })).rejects.toMatchObject({ code });
    expect(names(catalogue)).toEqual(['code', 'math']);
    expect(readdirSync(join(folder, 'artefacts'))).toEqual([]);
  });

  describe('from an address', () => {
    let server: Server;
    let content: Buffer;
    let base: string;
    beforeEach(async () => {
      content = another();
      server = createServer((_request, response) => {
        response.writeHead(200, { 'content-length': content.length, etag: '"v1"' }).end(content);
      }).listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    afterEach(() => {
      server.closeAllConnections();
      server.close();
    });

    it('are fetched, checked and registered while the answer is already given', async () => {
      const catalogue = await open();
      const view = await catalogue.additions.add({ source: `${base}/Law-Q8_0.gguf` });
      expect(view.progress.state).toBe('resolving');
      expect(await ended(catalogue, 'law')).toMatchObject({ state: 'ready' });
      expect(names(catalogue)).toEqual(['code', 'law', 'math']);
    });

    it('say why they failed', async () => {
      content = Buffer.alloc(5000, 7);
      const catalogue = await open();
      await catalogue.additions.add({ source: `${base}/noise.gguf` });
      expect(await ended(catalogue, 'noise')).toMatchObject({ state: 'failed', error: { code: 'gguf.malformed' } });
      expect(names(catalogue)).toEqual(['code', 'math']);
    });
  });
});

function never(): never {
  throw new Error('not there');
}
