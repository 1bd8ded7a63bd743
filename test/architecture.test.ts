import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const WORKSPACES = ['shared', 'firmware-configs', 'controller', 'agent'];

/**
 * Who may import whom, folder by folder. Every folder may import itself and `shared`. ARCHITECTURE.md shows the same
 * table with its reasons; change both, with an ADR.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  shared: [],
  'firmware-configs': [],
  'controller/config': [],
  'controller/platform': [],
  'controller/optimiser': [],
  'controller/access': ['controller/platform'],
  'controller/gating': ['controller/platform'],
  'controller/catalogue': ['controller/platform'],
  'controller/fleet': ['controller/platform'],
  'controller/telemetry': ['controller/fleet', 'controller/platform'],
  'controller/broker': ['controller/platform', 'controller/telemetry'],
  'controller/planning': [
    'controller/fleet',
    'controller/telemetry',
    'controller/optimiser',
    'controller/gating',
    'controller/catalogue',
    'controller/platform',
  ],
  'controller/dispatch': [
    'controller/access',
    'controller/fleet',
    'controller/telemetry',
    'controller/gating',
    'controller/catalogue',
    'controller/platform',
  ],
  'controller/rollout': ['controller/fleet', 'controller/planning', 'controller/catalogue', 'controller/platform'],
  'controller/pruning': ['controller/fleet', 'controller/catalogue', 'controller/rollout', 'controller/platform'],
  'controller/identity': ['controller/platform'],
  'controller/enrolment': [
    'controller/fleet',
    'controller/catalogue',
    'controller/broker',
    'controller/identity',
    'controller/platform',
  ],
  'controller/operations': [
    'controller/access',
    'controller/config',
    'controller/platform',
    'controller/catalogue',
    'controller/fleet',
    'controller/telemetry',
    'controller/planning',
    'controller/dispatch',
    'controller/rollout',
    'controller/pruning',
    'controller/enrolment',
    'controller/gating',
    'controller/broker',
  ],
  'controller/simulation': [
    'controller/fleet',
    'controller/telemetry',
    'controller/gating',
    'controller/catalogue',
    'controller/planning',
    'controller/dispatch',
    'controller/rollout',
  ],
  'controller/bench': ['controller/gating', 'controller/optimiser', 'controller/dispatch', 'controller/telemetry'],
  'agent/config': [],
  'agent/gguf': [],
  'agent/slabs': ['agent/gguf'],
  'agent/native': [],
  'agent/residency': ['agent/gguf', 'agent/slabs', 'agent/native'],
  'agent/engine': ['agent/gguf', 'agent/slabs', 'agent/native', 'agent/residency'],
  'agent/variants': ['agent/gguf', 'agent/slabs', 'agent/native', 'agent/engine'],
  'agent/artefacts': [],
  'agent/link': [],
  'agent/sensors': ['firmware-configs'],
  'agent/launcher': [],
  'agent/releases': ['agent/launcher'],
  'agent/board': ['firmware-configs', 'agent/artefacts'],
  'agent/jobs': ['agent/engine', 'agent/sensors'],
  'agent/twin': ['agent/engine', 'agent/artefacts', 'agent/releases', 'agent/jobs'],
  'agent/telemetry': ['agent/sensors', 'agent/link'],
};
/** Composition: these put everything of their workspace together. */
const COMPOSES = new Set(['controller/cli', 'controller/main', 'agent/cli', 'agent/main']);

/** Modules that touch the world outside the process, and libraries whose whole purpose that is. */
const OUTSIDE =
  /^(?:node:(?:fs|fs\/promises|net|tls|http|https|child_process|worker_threads|dgram|readline|os)|mqtt|typeorm|aedes|highs|javascript-lp-solver|node-llama-cpp|koffi|fastify|openai|sqlite3|libsql)$/;
const ADAPTER_NAME =
  /^(?:mqtt|sqlite|postgres|http|disk|process|worker|aedes|llama|highs|javascript-lp|jetson|raspberry-pi|android|linux)-|\.(?:migration|module|controller)\.ts$|^(?:main|error-filter)\.ts$/;
/** Folders whose purpose is reading files and the environment. */
const EDGE_FOLDERS = new Set(['controller/cli', 'controller/config', 'agent/cli', 'agent/config', 'firmware-configs']);
const NEST_NAME = /\.(?:module|controller)\.ts$|^(?:main|error-filter)\.ts$/;
/** Beside the sources, but no part of the product. */
const TEST_SUPPORT = /\.(?:test|fixture)\.ts$|-contract\.ts$/;
const CLOCKS = /\b(?:Date\.now\(|new Date\(\)|Math\.random\(|process\.env\b)/;
const MAY_READ_CLOCK = /(?:^|\/)(?:clock|random)\.ts$|\/(?:cli|config|bench)\/|\/main\.ts$/;

interface Source {
  readonly path: string;
  readonly name: string;
  /** `controller/fleet`, `shared`, ... */
  readonly room: string;
  readonly text: string;
  /** Module names as written, with resolved paths for our own files. `typeOnly` imports vanish at run time. */
  readonly imports: readonly {
    readonly module: string;
    readonly target: string | undefined;
    readonly typeOnly: boolean;
  }[];
}

const sources = WORKSPACES.flatMap((workspace) =>
  readdirSync(join(ROOT, workspace, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !TEST_SUPPORT.test(entry.name))
    .map((entry) => readSource(relative(ROOT, join(entry.parentPath, entry.name)))),
);
const byPath = new Map(sources.map((source) => [source.path, source]));

function readSource(path: string): Source {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const imports = [
    ...text.matchAll(/^(import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm),
    ...text.matchAll(/\b(import)()\(\s*'([^']+)'\s*\)/g),
  ].map(([, , typeOnly, module = '']) => ({
    module,
    target: resolve(path, module),
    typeOnly: typeOnly !== undefined && typeOnly !== '',
  }));
  return { path, name: path.slice(path.lastIndexOf('/') + 1), room: roomOf(path), text, imports };
}

function resolve(from: string, module: string): string | undefined {
  if (module.startsWith('.')) return normalize(join(dirname(from), module)).replace(/\.js$/, '.ts');
  const ours = /^@fleetgate\/([^/]+)\/(.+)$/.exec(module);
  return ours === null ? undefined : `${ours[1]}/src/${ours[2]}.ts`;
}

function roomOf(path: string): string {
  const [workspace = '', , folder = ''] = path.split('/');
  if (workspace === 'shared' || workspace === 'firmware-configs') return workspace;
  return folder.endsWith('.ts') ? `${workspace}/main` : `${workspace}/${folder}`;
}

function mayImport(from: string, to: string): boolean {
  if (from === to || to === 'shared') return true;
  if (COMPOSES.has(from)) return to === 'firmware-configs' || to.split('/')[0] === from.split('/')[0];
  return (MAY_IMPORT[from] ?? []).includes(to);
}

describe('architecture', () => {
  it('has a place in the import table for every folder', () => {
    const rooms = new Set(sources.map((source) => source.room));
    expect([...rooms].filter((room) => !(room in MAY_IMPORT) && !COMPOSES.has(room))).toEqual([]);
  });

  it('imports only along the table', () => {
    const broken = sources.flatMap((source) =>
      source.imports
        .filter(({ target }) => target !== undefined && !mayImport(source.room, roomOf(target)))
        .map(
          ({ target }) =>
            `${source.path} imports ${target}: ${source.room} may import ${(MAY_IMPORT[source.room] ?? []).join(', ') || 'only shared'}`,
        ),
    );
    expect(broken).toEqual([]);
  });

  it('imports only files that exist', () => {
    const broken = sources.flatMap((source) =>
      source.imports
        .filter(({ target }) => target !== undefined && !byPath.has(target))
        .map(({ target }) => `${source.path} imports ${target}, which does not exist`),
    );
    expect(broken).toEqual([]);
  });

  it('reaches outside the process only from files whose name says so', () => {
    const broken = sources
      .filter((source) => !ADAPTER_NAME.test(source.name) && !EDGE_FOLDERS.has(source.room))
      .flatMap((source) =>
        source.imports
          .filter(({ module, typeOnly }) => !typeOnly && OUTSIDE.test(module))
          .map(
            ({ module }) =>
              `${source.path} imports ${module}: rename it after its technology (disk-, mqtt-, ...) or move the I/O to an adapter`,
          ),
      );
    expect(broken).toEqual([]);
  });

  it('keeps Nest in modules, controllers, filters and main', () => {
    const broken = sources
      .filter((source) => !NEST_NAME.test(source.name))
      .flatMap((source) =>
        source.imports
          .filter(({ module, typeOnly }) => !typeOnly && module.startsWith('@nestjs/'))
          .map(({ module }) => `${source.path} imports ${module}`),
      );
    expect(broken).toEqual([]);
  });

  it('reads time, chance and environment only in clock, random, config, cli and main', () => {
    const broken = sources
      .filter((source) => !MAY_READ_CLOCK.test(source.path))
      .flatMap((source) =>
        source.text
          .split('\n')
          .map((line, index) => ({ line, number: index + 1 }))
          .filter(({ line }) => !/^\s*(?:\*|\/\/|\/\*)/.test(line) && CLOCKS.test(line))
          .map(({ line, number }) => `${source.path}:${number} ${line.trim()}`),
      );
    expect(broken).toEqual([]);
  });

  it('has no cycle of imports', () => {
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) {
        cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
        return;
      }
      if (done.has(path)) return;
      for (const { target, typeOnly } of byPath.get(path)?.imports ?? []) {
        if (target !== undefined && !typeOnly && byPath.has(target)) visit(target, [...trail, path]);
      }
      done.add(path);
    };
    for (const source of sources) visit(source.path, []);
    expect(cycles).toEqual([]);
  });
});
