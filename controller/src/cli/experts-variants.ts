import { basename, resolve } from 'node:path';

import type { ExpertView, VariantView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import { type Command, InvalidArgumentError } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { countOption } from './options.js';
import { printJson, printLine, printNote, showBytes } from './output.js';

interface Options extends ConnectOptions {
  readonly json?: boolean;
}
interface OffloadOptions extends Options {
  readonly task?: string;
  readonly resident: Resident;
  readonly from?: string;
  readonly name?: string;
}
interface AddOptions extends Options {
  readonly file?: string;
  readonly adapter?: AdapterFile;
  readonly from?: string;
  readonly name?: string;
  readonly how?: string;
  readonly k?: number;
  readonly leastK?: number;
  readonly taskMask?: number;
  readonly loss?: readonly Loss[];
  readonly lossAt?: readonly (readonly [slabs: string, loss: Loss])[];
}
interface AdapterFile {
  readonly file: string;
  readonly scale: number;
}
type Loss = readonly [domain: string, bits: number];

/** A share of all slabs, or bytes. */
type Resident = { readonly share: number } | { readonly bytes: number };

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 1024,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/** Adds `experts offload`, `add-variant` and `remove-variant`: variants made of those that are there. */
export function registerVariantCommands(experts: Command): void {
  withConnection(
    experts
      .command('offload')
      .description('serve a mixture of experts with part of its slabs in memory: the same answers, on smaller devices')
      .argument('<expert>')
      .requiredOption('--resident <share>', 'slabs kept in memory: 50%, or bytes such as 1.5GB', residentOption)
      .option('--task <name>', 'task whose slabs are in memory first, of the profile within the file (gguf embed)')
      .option('--from <variant>', "variant whose file is served (default: the expert's first)")
      .option('--name <name>', 'name of the new variant'),
  ).action(offload);
  withConnection(
    experts
      .command('add-variant')
      .description('add a build of an expert: a pruned or quantised file, an adapter, fewer slabs per token')
      .argument('<expert>')
      .option('--file <file>', "GGUF file (default: the file of --from); its sha256 becomes the variant's")
      .option(
        '--adapter <file[@scale]>',
        'LoRA adapter (GGUF) that is laid over the file, by a scale of 1',
        adapterOption,
      )
      .option('--from <variant>', "variant that it was made of (default: the expert's first)")
      .option('--name <name>', 'name of the new variant')
      .option('--how <text>', 'how it was made, for people')
      .option('--k <n>', 'active slabs per token', countOption)
      .option('--task-mask <n>', 'slabs of each layer that an answer is computed with, those of its task', countOption)
      .option('--least-k <n>', 'down to how many the device may go by itself when hot or low on battery', countOption)
      .option('--loss <domain=bits>', 'bits per byte beyond those of --from, once a domain', lossOption)
      .option('--loss-at <k:domain=bits>', 'the same with fewer active slabs, for --least-k', lossAtOption),
  ).action(addVariant);
  withConnection(
    experts.command('remove-variant').description('take an added variant away').argument('<variant>'),
  ).action(removeVariant);
}

async function offload(name: string, options: OffloadOptions): Promise<void> {
  const client = new ApiClient(options);
  const from = await variantOf(client, name, options.from);
  const slabsBytes = from.facts.slabsBytes ?? 0;
  if (slabsBytes === 0) {
    throw new FleetError('usage.invalid', `${from.id} is dense, expected a mixture of experts`, {
      hint: '`fleetgate experts show NAME` tells how many slabs a layer has',
    });
  }
  const { resident, task } = options;
  const slabBudgetBytes = Math.floor('share' in resident ? resident.share * slabsBytes : resident.bytes);
  const percent = Math.round((100 * slabBudgetBytes) / slabsBytes);
  await make(client, name, options, {
    name: options.name ?? `${from.id.slice(0, 56)}-r${percent}`,
    how: `${percent} % of the slabs in memory`,
    from: from.id,
    serving: { slabBudgetBytes, ...(task === undefined ? {} : { task }) },
  });
}

async function addVariant(name: string, options: AddOptions): Promise<void> {
  const client = new ApiClient(options);
  const from = await variantOf(client, name, options.from);
  const { file, adapter, k, leastK, taskMask, loss = [], lossAt = [] } = options;
  const slabs = [...new Set(lossAt.map(([at]) => at))];
  const serving = {
    ...(k === undefined ? {} : { slabsPerToken: k }),
    ...(leastK === undefined ? {} : { leastSlabsPerToken: leastK }),
    ...(taskMask === undefined ? {} : { taskMask: { keep: taskMask } }),
  };
  const own = file ?? adapter?.file;
  const stem =
    own === undefined
      ? from.id
      : basename(own)
          .replace(/\.gguf$/i, '')
          .toLowerCase();
  await make(client, name, options, {
    name:
      options.name ??
      `${stem.slice(0, 52)}${k === undefined ? '' : `-k${k}`}${taskMask === undefined ? '' : `-t${taskMask}`}`,
    how:
      options.how ??
      [
        ...(file === undefined ? [] : [basename(file)]),
        ...(adapter === undefined ? [] : [`adapter ${basename(adapter.file)} x ${adapter.scale}`]),
        ...(k === undefined ? [] : [`k ${k}`]),
        ...(taskMask === undefined ? [] : [`${taskMask} slabs of the prompt's task`]),
      ].join(', '),
    from: from.id,
    ...(file === undefined ? {} : { source: resolve(file) }),
    ...(adapter === undefined ? {} : { adapter: { source: resolve(adapter.file), scale: adapter.scale } }),
    ...(Object.keys(serving).length === 0 ? {} : { serving }),
    loss: Object.fromEntries(loss),
    ...(slabs.length === 0
      ? {}
      : {
          lossAtSlabs: Object.fromEntries(
            slabs.map((at) => [at, Object.fromEntries(lossAt.flatMap(([of, one]) => (of === at ? [one] : [])))]),
          ),
        }),
  });
}

async function removeVariant(name: string, options: Options): Promise<void> {
  await new ApiClient(options).delete(`/api/v1/variants/${encodeURIComponent(name)}`);
  if (options.json === true) return printJson({ removed: name });
  printLine(`removed ${name}`);
}

async function make(client: ApiClient, expert: string, options: Options, body: object): Promise<void> {
  const made = await client.post<VariantView>(`/api/v1/experts/${encodeURIComponent(expert)}/variants`, body);
  if (options.json === true) return printJson(made);
  printLine(`added ${made.id}: ${made.made?.how ?? ''}, ${showBytes(made.facts.memoryBytes)} of memory`);
  printNote('it is measured by the devices that can hold it, and planned with from then on');
}

async function variantOf(client: ApiClient, name: string, from: string | undefined): Promise<VariantView> {
  const { variants } = await client.get<ExpertView>(`/api/v1/experts/${encodeURIComponent(name)}`);
  const variant = from === undefined ? variants[0] : variants.find(({ id }) => id === from);
  if (variant !== undefined) return variant;
  throw new FleetError('usage.invalid', `${name} has no variant ${from ?? ''}`, {
    hint: `expected one of ${variants.map(({ id }) => id).join(', ')}`,
  });
}

function residentOption(text: string): Resident {
  const match = /^(\d+(?:\.\d+)?)\s*(%|[kmg]i?b)?$/i.exec(text);
  const value = Number(match?.[1]);
  const unit = (match?.[2] ?? '').toUpperCase();
  if (unit === '%' && value > 0 && value <= 100) return { share: value / 100 };
  const bytes = value * (UNITS[unit] ?? NaN);
  if (bytes >= 1) return { bytes };
  throw new InvalidArgumentError('expected a share such as 50%, or bytes such as 1.5GB.');
}

function adapterOption(text: string): AdapterFile {
  const [, file = '', scale = '1'] = /^(.+?)(?:@(-?\d+(?:\.\d+)?))?$/.exec(text) ?? [];
  if (file === '' || scale === '' || !Number.isFinite(Number(scale))) {
    throw new InvalidArgumentError('expected a file, or file@scale such as poet.gguf@0.5.');
  }
  return { file, scale: Number(scale) };
}

function lossAtOption(
  text: string,
  before: readonly (readonly [string, Loss])[] = [],
): readonly (readonly [string, Loss])[] {
  const [slabs = '', loss = ''] = text.split(':');
  if (!/^[1-9]\d*$/.test(slabs)) throw new InvalidArgumentError('expected k:domain=bits, such as 1:math=0.1.');
  return [...before, ...lossOption(loss).map((one) => [slabs, one] as const)];
}

function lossOption(text: string, before: readonly Loss[] = []): readonly Loss[] {
  const [domain = '', bits = ''] = text.split('=');
  if (domain === '' || bits === '' || !Number.isFinite(Number(bits))) {
    throw new InvalidArgumentError('expected domain=bits, such as math=0.02.');
  }
  return [...before, [domain, Number(bits)]];
}
