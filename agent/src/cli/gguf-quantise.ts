import { join, resolve } from 'node:path';

import { check } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import type { GgmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { Command } from 'commander';

import { digestOf } from '../artefacts/disk-digest.js';
import { meanOf, type TaskTexts } from '../variants/engine-scorer.js';
import {
  groupOptions,
  type GroupOption,
  meanBits,
  plannedTypes,
  type Sensitivity,
  sensitivitySchema,
  typeNotes,
} from '../variants/sensitivity.js';
import { givenType, quantisable, targetType } from '../variants/tensor-types.js';
import type { VariantSpec } from '../variants/variant-space.js';
import { bytesOption, positiveInteger, positiveNumber } from './variant-options.js';
import { readTaskTexts, someTexts } from './variant-texts.js';
import { folderOf, onWorkbench, tell, type Workbench } from './variant-workbench.js';

interface Options {
  readonly out: string;
  readonly type?: string;
  readonly types: string;
  readonly budget?: number;
  readonly bits?: number;
  readonly texts?: string;
  readonly docs: number;
  readonly sensitivity?: string;
  readonly threads: number;
  readonly json?: boolean;
}

interface Chosen {
  readonly types: ReadonlyMap<string, GgmlType>;
  readonly typeByGroup: Readonly<Record<string, string>>;
  readonly how: string;
  /** Bits per byte that the choice was expected to cost, and that no choice could cost less than. */
  readonly expected?: { readonly loss: number; readonly bound: number };
}

/** Adds `gguf quantise`: fewer bits for the weights, one type for all or chosen by sensitivity within a budget. */
export function registerGgufQuantise(gguf: Command): void {
  gguf
    .command('quantise')
    .description('store a model in fewer bits: one type, or per layer and projection by measured sensitivity')
    .argument('<file>')
    .requiredOption('--out <file>', 'file to write')
    .option('--type <name>', 'one type for all weights (q8_0, q5_0, q4_0, q4_k, ...)')
    .option('--budget <bytes>', 'most bytes of the result, such as 4GB: types are chosen by sensitivity', bytesOption)
    .option('--bits <n>', 'most bits per weight in the mean, instead of --budget', positiveNumber)
    .option('--types <names>', 'types to choose from', 'q8_0,q6_k,q5_k,q4_k,q3_k')
    .option('--texts <path>', 'texts to measure on: a folder of <task>.jsonl files, or one file')
    .option(
      '--docs <n>',
      'texts of each task to choose types by, and as many others to measure the result on',
      positiveInteger,
      20,
    )
    .option('--sensitivity <file>', 'read what each group loses from this file, or write it there when it is new')
    .option('--threads <n>', 'threads', positiveInteger, 1)
    .option('--json', 'print the result as JSON')
    .action(quantise);
}

async function quantise(file: string, options: Options): Promise<void> {
  const limits = [options.type, options.budget, options.bits].filter((one) => one !== undefined).length;
  if (limits !== 1) {
    throw new FleetError('usage.invalid', `expected one of --type, --budget and --bits, got ${limits} of them`, {
      hint: '--type q4_0 for one type, --budget 4GB or --bits 4.5 for types chosen by sensitivity',
    });
  }
  const wanted = (options.type ?? options.types).split(',').map(targetType);
  const texts = options.texts === undefined ? undefined : await readTaskTexts(options.texts);
  // Types are chosen on one half of the texts; what that costs is measured on the other.
  const calibration = texts && someTexts(texts, options.docs, 0, 2);
  const tasks = texts && someTexts(texts, options.docs, 1, 2).filter(({ pairs }) => pairs.length > 0);
  await onWorkbench(file, { threads: options.threads, work: folderOf(options.out) }, async (bench) => {
    const notes = typeNotes(bench.header, wanted);
    for (const note of notes) tell(`note: ${note}`);
    await bench.builder.prepare(wanted, tell, bench.signal);
    const chosen =
      options.type === undefined
        ? await byBudget(bench, wanted, calibration, options)
        : uniform(bench, wanted[0], options.type);
    const spec: VariantSpec = { ...chosen, keep: undefined, slabsPerToken: undefined };
    const output = resolve(options.out);
    await bench.builder.build({ spec, how: chosen.how, output }, bench.signal);
    const before = tasks && (await bench.scorer.bitsPerByte({ path: bench.path }, tasks, bench.signal));
    const after = tasks && (await bench.scorer.bitsPerByte({ path: output }, tasks, bench.signal));
    const written = await readGguf(output);
    print(options, {
      file: options.out,
      sha256: await digestOf(output, bench.signal),
      sizeBytes: written.fileBytes,
      sourceBytes: bench.header.fileBytes,
      bitsPerWeight: meanBits(bench.header, chosen.types),
      types: chosen.typeByGroup,
      expectedLoss: chosen.expected?.loss ?? null,
      leastLoss: chosen.expected?.bound ?? null,
      bitsPerByte: before && after ? { before, after } : null,
      notes,
    });
  });
}

function uniform({ header }: Workbench, type: GgmlType | undefined, name: string): Chosen {
  const types = new Map(quantisable(header).map((tensor) => [tensor.name, givenType(tensor, type ?? tensor.type)]));
  const names = [...new Set([...types.values()].map((given) => given.name.toLowerCase()))];
  return { types, typeByGroup: { all: names.join('+') }, how: `all ${name.toLowerCase()}` };
}

async function byBudget(
  bench: Workbench,
  wanted: readonly GgmlType[],
  tasks: readonly TaskTexts[] | undefined,
  options: Options,
): Promise<Chosen> {
  const groups = groupOptions(bench.header, wanted);
  const budgetBytes = budgetOf(bench, options);
  const least = groups.reduce((sum, ofGroup) => sum + (ofGroup.at(-1)?.sizeBytes ?? 0), 0);
  const problem = `the weights take ${least} bytes at least in these types, expected at most ${Math.floor(budgetBytes)}`;
  const hint = 'give a larger budget, narrower --types, or prune slabs first with `fleetgate gguf prune`';
  if (least > budgetBytes) throw new FleetError('usage.invalid', problem, { hint });
  const sensitivity = await knownSensitivity(bench, groups, tasks, options);
  const plan = plannedTypes(groups, sensitivity, budgetBytes);
  if (plan === undefined) throw new FleetError('usage.invalid', problem, { hint });
  const { types, typeByGroup, choice } = plan;
  const how = `types by sensitivity within ${Math.floor(budgetBytes)} bytes of weights`;
  return { types, typeByGroup, how, expected: { loss: choice.loss, bound: choice.bound } };
}

/** Bytes for the weights whose type is chosen. */
function budgetOf({ header }: Workbench, { budget, bits }: Options): number {
  const tensors = quantisable(header);
  if (bits !== undefined) return (tensors.reduce((sum, { elements }) => sum + elements, 0) * bits) / 8;
  // Each tensor is padded to a page, and the header grows by some metadata.
  const padded = (header.tensors.length + 1) * 4096;
  const fixed = header.tensors.reduce((sum, { byteLength }) => sum + byteLength, header.headerBytes + padded);
  return (budget ?? 0) - (fixed - tensors.reduce((sum, { byteLength }) => sum + byteLength, 0));
}

async function knownSensitivity(
  bench: Workbench,
  groups: readonly (readonly GroupOption[])[],
  tasks: readonly TaskTexts[] | undefined,
  options: Options,
): Promise<Sensitivity> {
  const path = options.sensitivity;
  const known = path === undefined ? undefined : readJsonFile(path, sensitivitySchema);
  if (known !== undefined) {
    if (known.source === bench.sha256) return known;
    throw new FleetError('usage.invalid', `${path ?? ''} was measured on another model (sha256 ${known.source})`, {
      hint: 'name another file: it is then measured and written there',
    });
  }
  if (tasks === undefined) {
    throw new FleetError(
      'usage.invalid',
      'choosing types within a budget needs a sensitivity, which is measured on texts',
      {
        hint: 'give --texts, or --sensitivity with a file that was measured before',
      },
    );
  }
  const measured = await measureSensitivity(bench, groups, tasks);
  if (path !== undefined) writeJsonFile(path, measured, 0o644);
  return measured;
}

/** Builds and measures the model with one group alone in each of its narrower types. */
async function measureSensitivity(
  { path, header, sha256, builder, scorer, folder, signal }: Workbench,
  groups: readonly (readonly GroupOption[])[],
  tasks: readonly TaskTexts[],
): Promise<Sensitivity> {
  const bitsPerByte = meanOf(await scorer.bitsPerByte({ path }, tasks, signal));
  const original = new Map(quantisable(header).map(({ name, type }) => [name, type]));
  const measured: Sensitivity['groups'] = [];
  const output = join(folder, 'one-group.gguf');
  const total = groups.reduce((sum, ofGroup) => sum + ofGroup.length - 1, 0);
  let done = 0;
  for (const [first, ...narrower] of groups) {
    const options = [];
    for (const { name, types, sizeBytes } of narrower) {
      const spec = {
        types: new Map([...original, ...types]),
        typeByGroup: {},
        keep: undefined,
        slabsPerToken: undefined,
      };
      await builder.build({ spec, how: 'sensitivity', output }, signal);
      const bits = meanOf(await scorer.bitsPerByte({ path: output }, tasks, signal));
      options.push({ type: name, sizeBytes, bitsPerByte: bits });
      const rise = (bits - bitsPerByte).toFixed(4);
      tell(`${++done} of ${total}: ${first?.group.name ?? ''} as ${name}: ${rise} bits per byte`);
    }
    measured.push({ name: first?.group.name ?? '', options });
  }
  const texts = tasks.reduce((sum, { pairs }) => sum + pairs.length, 0);
  const value = { schema: 'fleetgate-sensitivity/1', source: sha256, bitsPerByte, texts, groups: measured };
  return check<Sensitivity>(sensitivitySchema, value, 'internal.invariant', 'sensitivity');
}

interface Result {
  readonly file: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly sourceBytes: number;
  readonly bitsPerWeight: number;
  readonly types: Readonly<Record<string, string>>;
  readonly expectedLoss: number | null;
  readonly leastLoss: number | null;
  readonly bitsPerByte: {
    readonly before: Readonly<Record<string, number>>;
    readonly after: Readonly<Record<string, number>>;
  } | null;
  readonly notes: readonly string[];
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(4)}`;
}

function print({ json }: Options, result: Result): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const { file, sizeBytes, sourceBytes, bitsPerWeight, types, bitsPerByte, expectedLoss } = result;
  const lines = [
    `${file}: ${sizeBytes} bytes (${((100 * sizeBytes) / sourceBytes).toFixed(1)} % of ${sourceBytes}), ${bitsPerWeight.toFixed(2)} bits per weight`,
    ...Object.entries(types).map(([group, type]) => `  ${group.padEnd(28)}${type}`),
  ];
  if (bitsPerByte !== null) {
    const [before, after] = [meanOf(bitsPerByte.before), meanOf(bitsPerByte.after)];
    const expected = expectedLoss === null ? '' : `, ${expectedLoss.toFixed(4)} expected of the sum of the groups`;
    lines.push(`bits per byte: ${before.toFixed(4)} -> ${after.toFixed(4)} (${signed(after - before)}${expected})`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
