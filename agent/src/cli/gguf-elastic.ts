import { loadBoard } from '@fleetgate/firmware-configs/load-board';
import {
  type ElasticRecord,
  elasticRecordSchema,
  type ElasticStep,
} from '@fleetgate/shared/catalogue/variant-catalogue';
import { check } from '@fleetgate/shared/check';
import { writeTextFile } from '@fleetgate/shared/disk-json';
import { FleetError } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

import { lossOf, meanOf, type TaskTexts } from '../variants/engine-scorer.js';
import { costOf, specOf, variantSpace } from '../variants/variant-space.js';
import { positiveInteger } from './variant-options.js';
import { readTaskTexts, someTexts } from './variant-texts.js';
import { folderOf, onWorkbench, tell, type Workbench } from './variant-workbench.js';

interface Options {
  readonly texts: string;
  readonly docs: number;
  readonly board: string;
  readonly out?: string;
  readonly threads: number;
  readonly json?: boolean;
}

/** Answers from which speed is measured. */
const SPEED_PROMPTS = 12;

/** Adds `gguf elastic`: what a mixture is worth with each number of active slabs per token. */
export function registerGgufElastic(gguf: Command): void {
  gguf
    .command('elastic')
    .description('measure quality, speed and bytes per token with each number of active slabs (elastic k)')
    .argument('<file>')
    .requiredOption('--texts <path>', 'texts to measure on: a folder of <task>.jsonl files, or one file')
    .option('--docs <n>', 'texts of each task', positiveInteger, 40)
    .option('--board <id>', 'type of device that energy is modelled for', 'linux-x64')
    .option('--out <file>', 'quality record to write (JSON)')
    .option('--threads <n>', 'threads', positiveInteger, 1)
    .option('--json', 'print the record as JSON')
    .action(elastic);
}

async function elastic(file: string, options: Options): Promise<void> {
  const board = await loadBoard(options.board);
  const tasks = someTexts(await readTaskTexts(options.texts), options.docs);
  const work = options.out === undefined ? undefined : folderOf(options.out);
  const record = await onWorkbench(file, { threads: options.threads, work }, async (bench) => {
    const space = variantSpace(bench.header, file, { types: [], layerGroups: 1, elastic: true });
    const [all = 0] = space.slabsPerToken;
    if (all === 0) {
      throw new FleetError('usage.invalid', `${file} is a dense model, expected a mixture of experts`, {
        hint: 'only slabs can be left out token by token',
      });
    }
    const steps: (ElasticStep & { readonly decodeTokensPerS: number | null })[] = [];
    for (const [choice, slabsPerToken] of space.slabsPerToken.entries()) {
      const measured = await measure(bench, slabsPerToken, tasks);
      const spec = specOf(space, [0, choice]);
      const { activeBytes, decodeJPerToken } = costOf(space, spec, board);
      const loss = lossOf(measured.bitsPerByte, steps[0]?.bitsPerByte ?? measured.bitsPerByte);
      steps.push({ slabsPerToken, ...measured, loss: { ...loss }, activeBytes, decodeJPerToken });
      tell(`k ${slabsPerToken}: ${meanOf(measured.bitsPerByte).toFixed(4)} bits per byte`);
    }
    const value = {
      schema: 'fleetgate-elastic/1',
      sha256: bench.sha256,
      board: board.id,
      energy: 'modelled',
      texts: countOf(tasks),
      steps,
    };
    return check<ElasticRecord>(elasticRecordSchema, value, 'internal.invariant', 'elastic record');
  });
  if (options.out !== undefined) writeTextFile(options.out, `${JSON.stringify(record, undefined, 2)}\n`, 0o644);
  print(options, record);
}

async function measure({ path, scorer, signal }: Workbench, slabsPerToken: number, tasks: readonly TaskTexts[]) {
  const served = { path, slabsPerToken };
  const bitsPerByte = await scorer.bitsPerByte(served, tasks, signal);
  const prompts = someTexts(tasks, Math.ceil(SPEED_PROMPTS / tasks.length));
  const decodeTokensPerS = await scorer.decodeRate(served, prompts, signal);
  return { bitsPerByte: { ...bitsPerByte }, decodeTokensPerS: decodeTokensPerS ?? null };
}

function countOf(tasks: readonly TaskTexts[]): number {
  return tasks.reduce((sum, { pairs }) => sum + pairs.length, 0);
}

function print({ json }: Options, record: ElasticRecord): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify(record)}\n`);
    return;
  }
  const rows = record.steps.map(
    ({ slabsPerToken, bitsPerByte, loss, activeBytes, decodeJPerToken, decodeTokensPerS }) =>
      [
        String(slabsPerToken).padStart(3),
        meanOf(bitsPerByte).toFixed(4).padStart(11),
        meanOf(loss).toFixed(4).padStart(9),
        (activeBytes / 1e6).toFixed(2).padStart(10),
        (decodeTokensPerS?.toFixed(0) ?? '-').padStart(10),
        (1000 * decodeJPerToken).toFixed(3).padStart(10),
      ].join(''),
  );
  const head = '  k  bits/byte     loss  MB/token  tokens/s  mJ/token (modelled)';
  process.stdout.write(`${[head, ...rows].join('\n')}\n`);
}
