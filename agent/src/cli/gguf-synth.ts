import { resolve } from 'node:path';

import { type Command, InvalidArgumentError, Option } from 'commander';

import { writeSynth } from '../gguf/disk-synth.js';
import { SYNTH_ARCHITECTURES } from '../gguf/synth-architectures.js';
import { synthModel } from '../gguf/synth.js';
import { positiveInteger } from './slab-profile.js';

interface SynthCommandOptions {
  readonly layers: number;
  readonly experts: number;
  readonly topK: number;
  readonly embd: number;
  readonly ff: number;
  readonly heads?: number;
  readonly arch: string;
  readonly type: 'q8_0' | 'f16' | 'f32';
  readonly seed: number;
  readonly out: string;
  readonly json?: boolean;
}

/** Width of an attention head, where none is asked for. */
const HEAD_WIDTH = 64;

/** Adds `gguf synth`: a mixture of any size, for benchmarks. */
export function registerGgufSynth(gguf: Command): void {
  gguf
    .command('synth')
    .description(
      'write a mixture of experts (or a dense model) with random weights and life-like routing, for benchmarks and tests',
    )
    .requiredOption('--layers <n>', 'layers', positiveInteger)
    .requiredOption('--experts <n>', 'slabs of each layer; 0 for a dense model (--arch llama)', wholeNumber)
    .requiredOption('--top-k <n>', 'slabs that a token uses; 0 for a dense model', wholeNumber)
    .requiredOption('--embd <n>', 'width of the embedding', positiveInteger)
    .requiredOption('--ff <n>', 'width of a slab', positiveInteger)
    .option('--heads <n>', `attention heads (default: one for ${HEAD_WIDTH} of the width)`, positiveInteger)
    .addOption(
      new Option('--arch <name>', 'architecture').choices(Object.keys(SYNTH_ARCHITECTURES)).default('qwen3moe'),
    )
    .addOption(new Option('--type <name>', 'type of the weights').choices(['q8_0', 'f16', 'f32']).default('q8_0'))
    .option('--seed <n>', 'another seed, another model', positiveInteger, 1)
    .requiredOption('--out <file>', 'file to write (.gguf)')
    .option('--json', 'print a summary as JSON')
    .action(synth);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('expected a whole number of 0 or more');
  return value;
}

async function synth(options: SynthCommandOptions): Promise<void> {
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  try {
    const { layers, experts, topK, embd, ff, arch, type, seed } = options;
    const heads = options.heads ?? Math.max(1, Math.floor(embd / HEAD_WIDTH));
    const model = synthModel({
      architecture: arch,
      layers,
      slabsPerLayer: experts,
      slabsPerToken: topK,
      embedding: embd,
      slabWidth: ff,
      heads,
      type,
      seed,
    });
    const file = resolve(options.out);
    const bytes = await writeSynth(model, seed, file, abort.signal);
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify({ file, bytes, architecture: arch, layers, slabsPerLayer: experts, slabsPerToken: topK })}\n`
        : `${file}: ${arch}, ${layers} ${experts === 0 ? 'dense layers' : `layers of ${experts} slabs, ${topK} a token`}, ${(bytes / 1e6).toFixed(1)} MB\n`,
    );
  } finally {
    process.off('SIGINT', interrupt);
  }
}
