import { rename, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';

import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';
import { FleetError } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

import { writeAssembly } from '../gguf/disk-assembly.js';
import { pruning } from '../gguf/prune.js';
import { withProfile } from '../slabs/disk-pruned-profile.js';
import { disagreement } from '../slabs/mask-agreement.js';
import type { KeepSets } from '../slabs/routing.js';
import { bitsOfAll } from './gguf-mask-eval.js';
import { keptBy, type KeepOptions, positiveInteger, withKeepOptions } from './slab-profile.js';
import { type SlabDocument, SlabSession } from './slab-session.js';
import { readTexts } from './slab-texts.js';

interface PruneOptions extends KeepOptions {
  readonly out: string;
  readonly text?: string;
  readonly docs: number;
  readonly maxLoss?: number;
  readonly threads: number;
  readonly json?: boolean;
}

interface Validation {
  readonly before: number;
  readonly masked: number;
  readonly documents: number;
}

/** Slabs start on pages of their own: they can be read past the page cache, and given back one by one. */
const ALIGNMENT = 4096;
const MAX_TOKENS = 320;
/** Documents that the written file is compared with the mask on, where no text is given. */
const PROBE =
  'Question: What is the capital of France, and why? Answer: The river carries 12 small stones past old houses.';

/** Adds `gguf prune`: a file with only some of the slabs. */
export function registerGgufPrune(gguf: Command): void {
  withKeepOptions(
    gguf
      .command('prune')
      .description('write a file with only the slabs that tasks need, tried with a mask before, compared with it after')
      .argument('<file>'),
  )
    .requiredOption('--out <file>', 'file to write')
    .option('--text <file>', 'held-out texts to try the mask on before anything is written')
    .option('--docs <n>', 'documents of them', positiveInteger, 40)
    .option('--max-loss <bits>', 'write nothing where the mask costs more bits per byte than this', Number)
    .option('--threads <n>', 'threads', positiveInteger, 1)
    .option('--json', 'print one JSON document')
    .action(prune);
}

async function prune(file: string, options: PruneOptions): Promise<void> {
  const texts = options.text === undefined ? [{ text: PROBE }] : await readTexts(options.text, options.docs);
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  const session = await SlabSession.open(file, { threads: options.threads, maxTokens: MAX_TOKENS });
  try {
    const kept = await keptBy(options, session);
    if (kept === undefined) {
      throw new FleetError('usage.invalid', 'nothing is to be pruned', { hint: 'give --profile, --task and --keep' });
    }
    const documents = session.documents(texts, options.docs);
    const validation = options.text === undefined ? undefined : validate(session, documents, kept);
    refuseLoss(validation, options.maxLoss);
    const output = resolve(options.out);
    const audit = { source: await sha256OfFile(session.path), score: options.score, task: options.task ?? '' };
    const { changes, tensors } = await withProfile(
      session.header,
      kept,
      pruning(session.path, session.header, session.layout, kept, audit),
    );
    const base = { path: session.path, header: session.header };
    // It gets its name when it was compared: what has it can be trusted.
    const unchecked = `${output}.unchecked`;
    try {
      await writeAssembly({ base, changes, tensors, alignment: ALIGNMENT, output: unchecked }, abort.signal);
      session.keep = kept;
      await compare(session, unchecked, documents, options.threads);
      await rename(unchecked, output);
    } finally {
      await rm(unchecked, { force: true });
    }
    const { size } = await stat(output);
    const result = {
      file: output,
      bytes: size,
      share: size / session.header.fileBytes,
      keep: options.keep,
      kept,
      bitsPerByte: validation === undefined ? null : { all: validation.before, kept: validation.masked },
      comparedDocuments: documents.length,
    };
    process.stdout.write(options.json === true ? `${JSON.stringify(result)}\n` : textOf(result));
  } finally {
    session.close();
    process.off('SIGINT', interrupt);
  }
}

function validate(session: SlabSession, documents: readonly SlabDocument[], kept: KeepSets): Validation {
  const all = bitsOfAll(session, documents);
  session.keep = kept;
  const masked = bitsOfAll(session, documents);
  session.keep = undefined;
  return { before: all.bits / all.bytes, masked: masked.bits / masked.bytes, documents: documents.length };
}

function refuseLoss(validation: Validation | undefined, maxLoss: number | undefined): void {
  if (maxLoss === undefined) return;
  if (!Number.isFinite(maxLoss))
    throw new FleetError('usage.invalid', '--max-loss: expected a number of bits per byte');
  if (validation === undefined) {
    throw new FleetError('usage.invalid', '--max-loss needs --text: without texts nobody knows the loss');
  }
  const loss = validation.masked - validation.before;
  if (loss <= maxLoss) return;
  throw new FleetError(
    'usage.invalid',
    `the mask costs ${loss.toFixed(4)} bits per byte on ${validation.documents} documents, expected ${maxLoss} at most; ` +
      'nothing was written',
    { hint: 'keep more slabs, or prune for tasks like these texts' },
  );
}

/** The written file has to compute what the mask computes, on every document. */
async function compare(
  session: SlabSession,
  output: string,
  documents: readonly SlabDocument[],
  threads: number,
): Promise<void> {
  const pruned = await SlabSession.open(output, { threads, maxTokens: MAX_TOKENS });
  try {
    const bits = documents.map((document) => ({
      masked: session.evaluate(document).bits,
      written: pruned.evaluate(document).bits,
    }));
    const wrong = disagreement(bits);
    if (wrong === undefined) return;
    throw new FleetError('gguf.unsupported', `the pruned file does not compute what the mask computes: ${wrong}`, {
      hint: 'its architecture chooses slabs in a way that pruning changes; nothing was written: please report this',
    });
  } finally {
    pruned.close();
  }
}

function textOf(result: {
  readonly file: string;
  readonly bytes: number;
  readonly share: number;
  readonly bitsPerByte: { readonly all: number; readonly kept: number } | null;
  readonly comparedDocuments: number;
}): string {
  const { file, bytes, share, bitsPerByte, comparedDocuments } = result;
  const quality =
    bitsPerByte === null
      ? ''
      : `bits per byte: ${bitsPerByte.all.toFixed(4)} with all slabs, ${bitsPerByte.kept.toFixed(4)} with those kept\n`;
  return (
    `${file}: ${(bytes / 1e6).toFixed(2)} MB, ${(100 * share).toFixed(0)} % of the source\n${quality}` +
    `it computes what the mask computes on ${comparedDocuments} documents\n`
  );
}
