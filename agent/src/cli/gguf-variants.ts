import { basename, join, resolve } from 'node:path';

import { loadBoard } from '@fleetgate/firmware-configs/load-board';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { type VariantCatalogue, variantCatalogueSchema } from '@fleetgate/shared/catalogue/variant-catalogue';
import { check } from '@fleetgate/shared/check';
import { claimDataDir } from '@fleetgate/shared/disk-data-dir';
import { writeTextFile } from '@fleetgate/shared/disk-json';
import { FleetError } from '@fleetgate/shared/errors';
import { type Command, Option } from 'commander';

import { SCORES, type ScoreName } from '../slabs/importance.js';
import type { SlabProfile } from '../slabs/profile.js';
import { ALL_TASKS, catalogueEntries, type HeldOutVariant, worthBuilding } from '../variants/catalogue.js';
import { openSearchLog } from '../variants/disk-search-log.js';
import { profileSlabs } from '../variants/process-routing.js';
import type { SearchLog } from '../variants/search-state.js';
import type { BitsByTask, TaskTexts } from '../variants/engine-scorer.js';
import type { SearchMethod } from '../variants/front-search.js';
import { genomeCount } from '../variants/genome.js';
import { targetType } from '../variants/tensor-types.js';
import type { SearchRun } from '../variants/variant-search.js';
import { checkSpace, genesOf, shapeOf, type VariantSpace, variantSpace } from '../variants/variant-space.js';
import { catalogueTable } from './catalogue-table.js';
import { buildEntries } from './variant-builds.js';
import { bytesOption, integersOption, positiveInteger, positiveNumber } from './variant-options.js';
import { genomeOfSource, type Scope, scopeOf, settingsOf, VariantRun } from './variant-run.js';
import { readTaskTexts, someTexts } from './variant-texts.js';
import { onWorkbench, tell, type Workbench } from './variant-workbench.js';

export interface VariantOptions {
  readonly texts: string;
  readonly board: string;
  readonly out: string;
  readonly budgetEvals: number;
  readonly docs: number;
  readonly heldOut: number;
  readonly types: string;
  readonly keep?: readonly number[];
  readonly score: ScoreName;
  readonly layerGroups: number;
  readonly perTask?: boolean;
  readonly build: number;
  readonly maxBytes?: number;
  readonly maxLoss: number;
  readonly seed: number;
  readonly method: SearchMethod | 'exhaustive';
  readonly resume?: boolean;
  readonly threads: number;
  readonly json?: boolean;
}

const CATALOGUE = 'variants.json';
const LOG = 'search.json';
/** Texts of each task that the router is watched on: quick beside what is measured then. */
const MOST_PROFILED = 40;

/** Adds `gguf variants`: searches slabs kept, active slabs and bit widths for the builds that no other one beats. */
export function registerGgufVariants(gguf: Command): void {
  gguf
    .command('variants')
    .description('search for the builds of a model that none beats in quality, bytes and joules per token at once')
    .argument('<file>')
    .requiredOption('--texts <dir>', 'folder of <task>.jsonl files; half of each is measured on, half held out')
    .requiredOption('--board <id>', 'type of device that energy is modelled for')
    .requiredOption('--out <dir>', 'folder for the catalogue, its builds and the state of the search')
    .option('--budget-evals <n>', 'builds to measure, over all scopes', positiveInteger, 120)
    .option('--docs <n>', 'texts of each task for the search', positiveInteger, 8)
    .option('--held-out <n>', 'texts of each task for the figures of the catalogue', positiveInteger, 40)
    .option('--types <names>', 'types to choose from', 'q8_0,q6_k,q5_k,q4_k,q3_k')
    .option('--keep <counts>', 'slabs kept in each layer to choose from (default: a series of shares)', integersOption)
    .addOption(new Option('--score <name>', 'what makes a slab stay').choices(SCORES).default('tcess'))
    .option('--layer-groups <n>', 'runs of layers whose feed-forward weights get a type together', positiveInteger, 2)
    .option('--per-task', 'also search builds for each task alone')
    .option('--build <n>', 'builds of the front to write; 0 for none', wholeNumber, 4)
    .option('--max-bytes <bytes>', "largest build (default: the board's memory)", bytesOption)
    .option('--max-loss <n>', 'bits per byte beyond the source from which a build is useless', positiveNumber, 0.5)
    .option('--seed <n>', 'seed of the search', wholeNumber, 1)
    .addOption(
      new Option('--method <name>', 'how builds are chosen for measuring')
        .choices(['assisted', 'plain', 'random', 'exhaustive'])
        .default('assisted'),
    )
    .option('--resume', 'go on with a search that was stopped')
    .option('--threads <n>', 'threads', positiveInteger, 1)
    .option('--json', 'print the catalogue as JSON')
    .action(findVariants);
}

async function findVariants(file: string, options: VariantOptions): Promise<void> {
  const board = await loadBoard(options.board);
  const texts = await readTaskTexts(options.texts);
  const out = resolve(options.out);
  const release = claimDataDir(out, { what: 'folder', option: '--out' });
  try {
    await searchInto(out, file, options, board, texts);
  } finally {
    release();
  }
  // The model in each type is needed to go on, not to use what was built.
  tell(`types-* and ${LOG} in ${out} are only needed to go on with --resume`);
}

async function searchInto(
  out: string,
  file: string,
  options: VariantOptions,
  board: BoardProfile,
  texts: readonly TaskTexts[],
): Promise<void> {
  await onWorkbench(file, { threads: options.threads, work: out, keepsTypes: true }, async (bench) => {
    const types = options.types.split(',').map(targetType);
    const { keep: keepCounts, layerGroups } = options;
    const space = variantSpace(bench.header, bench.path, { types, layerGroups, keepCounts, elastic: true });
    checkSpace(space, file);
    const searchTexts = someTexts(texts, options.docs, 0, 2);
    const heldOut = someTexts(texts, options.heldOut, 1, 2);
    checkTexts(heldOut, options.texts);
    const settings = settingsOf(space, [searchTexts, heldOut], options.score);
    const log = openSearchLog(
      join(out, LOG),
      { source: bench.sha256, settings },
      options.resume === true ? 'resume' : 'fresh',
    );
    await bench.builder.prepare(types, tell, bench.signal);
    const profile = await knownProfile(bench, space, someTexts(texts, MOST_PROFILED, 0, 2), log);
    const run = new VariantRun({ bench, space, board, options, log, profile });
    tell(`${genomeCount(shapeOf(space))} builds to choose from in ${genesOf(space).length} genes`);
    const scopes = scopesOf(texts, options);
    const runs = new Map<Scope, SearchRun>();
    for (const scope of scopes) {
      const evaluations = Math.max(1, Math.floor(options.budgetEvals / scopes.length));
      runs.set(scope, await run.search(scope, searchTexts, evaluations));
    }
    const source = await run.heldOut(scopeOf(ALL_TASKS), genomeOfSource(space), heldOut);
    const variants = await heldOutFigures(run, runs, heldOut);
    const catalogue = await composed(
      { bench, space, board, options, run },
      { runs, source, variants, searchTexts, heldOut },
    );
    writeTextFile(join(out, CATALOGUE), `${JSON.stringify(catalogue, undefined, 2)}\n`, 0o644);
    process.stdout.write(
      options.json === true ? `${JSON.stringify(catalogue)}\n` : catalogueTable(catalogue, join(out, CATALOGUE)),
    );
  });
}

/** How the router chooses on the texts; undefined where no slab can go. */
async function knownProfile(
  { path, contextTokens, threads, signal }: Workbench,
  { keepCounts }: VariantSpace,
  tasks: readonly TaskTexts[],
  log: SearchLog,
): Promise<SlabProfile | undefined> {
  if (keepCounts.length < 2) return undefined;
  if (log.profile !== undefined) return log.profile;
  tell('watching which slabs the router chooses');
  const profile = await profileSlabs({ path, contextTokens, threads, tasks }, () => {}, signal);
  log.putProfile(profile);
  return profile;
}

function scopesOf(texts: readonly TaskTexts[], { perTask }: VariantOptions): readonly Scope[] {
  const names = perTask === true && texts.length > 1 ? texts.map(({ task }) => task) : [];
  return [ALL_TASKS, ...names].map(scopeOf);
}

async function heldOutFigures(
  run: VariantRun,
  runs: ReadonlyMap<Scope, SearchRun>,
  texts: readonly TaskTexts[],
): Promise<readonly HeldOutVariant[]> {
  const variants: HeldOutVariant[] = [];
  const total = [...runs.values()].reduce((sum, { front }) => sum + front.length, 0);
  for (const [scope, { front }] of runs) {
    for (const { genome } of front) {
      const bitsPerByte = await run.heldOut(scope, genome, texts);
      variants.push({ scope: scope.name, tasks: scope.tasks ?? Object.keys(bitsPerByte), genome, bitsPerByte });
      tell(`held-out texts: ${variants.length} of ${total}`);
    }
  }
  return variants;
}

interface Parts {
  readonly bench: Workbench;
  readonly space: VariantSpace;
  readonly board: BoardProfile;
  readonly options: VariantOptions;
  readonly run: VariantRun;
}

interface Found {
  readonly runs: ReadonlyMap<Scope, SearchRun>;
  readonly source: BitsByTask;
  readonly variants: readonly HeldOutVariant[];
  readonly searchTexts: readonly TaskTexts[];
  readonly heldOut: readonly TaskTexts[];
}

async function composed({ bench, space, board, options, run }: Parts, found: Found): Promise<VariantCatalogue> {
  const stem = basename(bench.path).replace(/\.gguf$/i, '');
  const entries = catalogueEntries(space, board, found.source, found.variants, stem);
  const wanted = worthBuilding(entries, options.build);
  const variants = await buildEntries(
    { bench, space, run, board, source: found.source, heldOut: found.heldOut, folder: resolve(options.out), stem },
    entries,
    wanted,
  );
  const runs = [...found.runs];
  const catalogue = {
    schema: 'fleetgate-variants/1',
    source: {
      file: basename(bench.path),
      sha256: bench.sha256,
      sizeBytes: bench.header.fileBytes,
      bitsPerByte: found.source,
      slabsPerLayer: space.keepCounts[0] ?? 0,
      slabsPerToken: space.slabsPerToken[0] ?? 0,
    },
    board: board.id,
    energy: 'modelled',
    genes: genesOf(space),
    search: {
      seed: options.seed,
      evaluations: runs.reduce((sum, [, { measured }]) => sum + measured.length, 0),
      searchTexts: countOf(found.searchTexts),
      heldOutTexts: countOf(found.heldOut),
      hypervolume: Object.fromEntries(runs.map(([{ name }, { hypervolume }]) => [name, hypervolume])),
    },
    variants,
  };
  return check<VariantCatalogue>(variantCatalogueSchema, catalogue, 'internal.invariant', CATALOGUE);
}

function checkTexts(heldOut: readonly TaskTexts[], where: string): void {
  const short = heldOut.find(({ pairs }) => pairs.length === 0);
  if (short === undefined) return;
  throw new FleetError('usage.invalid', `${where}: task "${short.task}" has one text, expected two or more`, {
    hint: 'builds are chosen on half of the texts and judged on the other half',
  });
}

function countOf(tasks: readonly TaskTexts[]): number {
  return tasks.reduce((sum, { pairs }) => sum + pairs.length, 0);
}

function wholeNumber(text: string): number {
  return text === '0' ? 0 : positiveInteger(text);
}
