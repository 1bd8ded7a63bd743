import type { Command } from 'commander';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { modelFacts } from '@fleetgate/shared/gguf/facts';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { type SlabLayout, slabLayout } from '../gguf/slab-layout.js';

/** Adds `gguf inspect`: what a file says of its model. */
export function registerGgufInspect(gguf: Command): void {
  gguf
    .command('inspect')
    .description('what a GGUF file says of its model, where its slabs lie, and what was done to it')
    .argument('<file>')
    .option('--json', 'print one JSON document')
    .action(async (file: string, options: { readonly json?: boolean }) => {
      const header = await readGguf(file);
      const facts = modelFacts(header, file);
      const layout = slabLayout(header, file);
      const inspected = {
        facts,
        types: typesOf(header),
        slabs: layout === undefined ? null : summaryOf(layout),
        alignment: header.alignment,
        made: madeOf(header),
      };
      if (options.json === true) process.stdout.write(`${JSON.stringify(inspected)}\n`);
      else process.stdout.write(`${textOf(file, inspected)}\n`);
    });
}

type Inspected = {
  readonly facts: ReturnType<typeof modelFacts>;
  readonly types: readonly { readonly type: string; readonly tensors: number; readonly bytes: number }[];
  readonly slabs: ReturnType<typeof summaryOf> | null;
  readonly alignment: number;
  readonly made: Readonly<Record<string, unknown>>;
};

function typesOf({ tensors }: GgufHeader): Inspected['types'] {
  const byType = new Map<string, { tensors: number; bytes: number }>();
  for (const { type, byteLength } of tensors) {
    const entry = byType.get(type.name) ?? { tensors: 0, bytes: 0 };
    byType.set(type.name, { tensors: entry.tensors + 1, bytes: entry.bytes + byteLength });
  }
  return [...byType].map(([type, entry]) => ({ type, ...entry })).toSorted((a, b) => b.bytes - a.bytes);
}

function summaryOf({ layers, slabsPerLayer, slabsPerToken, slabBytes, slabsBytes, otherBytes }: SlabLayout) {
  return {
    layers: layers.map(({ layer }) => layer),
    slabsPerLayer,
    slabsPerToken,
    slabBytes,
    slabsBytes,
    otherBytes,
    /** Read for one token when nothing is in memory. */
    bytesPerToken: layers.length * slabsPerToken * slabBytes,
  };
}

/** What our own tools wrote into the file: where it was made of, and how. */
function madeOf({ metadata }: GgufHeader): Inspected['made'] {
  return Object.fromEntries(
    [...metadata]
      .filter(([key]) => key.startsWith('fleetgate.'))
      .map(([key, { value }]) => [
        key,
        typeof value === 'object' ? (value.elements ?? `${value.length} values`) : value,
      ]),
  );
}

function textOf(file: string, { facts, types, slabs, alignment, made }: Inspected): string {
  const rows: (readonly [string, string])[] = [
    ['model', `${facts.name ?? '-'}, ${facts.architecture}, ${(facts.parameters / 1e6).toFixed(1)} M parameters`],
    [
      'size',
      `${megabytes(facts.fileBytes)}, ${types.map(({ type, bytes }) => `${type} ${megabytes(bytes)}`).join(', ')}`,
    ],
    ['context', `${facts.contextTokens} tokens, ${facts.layers} layers, width ${facts.embeddingLength}`],
    ['memory', `${megabytes(facts.memoryBytes)} with one full sequence`],
    ['alignment', `${alignment} bytes${alignment % 4096 === 0 ? ', slabs on pages of their own' : ''}`],
    [
      'slabs',
      slabs === null
        ? 'none: a dense model'
        : `${slabs.slabsPerToken} of ${slabs.slabsPerLayer} in each of ${slabs.layers.length} layers, ` +
          `${megabytes(slabs.slabBytes)} each, ${megabytes(slabs.slabsBytes)} together; ` +
          `${megabytes(slabs.bytesPerToken)} a token, ${megabytes(slabs.otherBytes)} of other weights`,
    ],
    ...Object.entries(made).map(([key, value]) => [key, shown(value)] as const),
  ];
  const width = Math.max(...rows.map(([title]) => title.length)) + 2;
  return [file, ...rows.map(([title, text]) => `  ${title.padEnd(width)}${text}`)].join('\n');
}

function shown(value: unknown): string {
  const text = Array.isArray(value) ? value.join(' ') : String(value);
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)} MB`;
}
