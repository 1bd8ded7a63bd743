import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';

import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';

import { LONGEST_LINE, type Outcome, parseOutcome, parsePromptLine, type PromptLine } from './outcomes.js';

/**
 * Outcomes of a `.jsonl` or `.jsonl.gz` file, line by line; the file is never held whole.
 *
 * Throws `outcomes.invalid` for a file that is missing, not gzip although it is named so, or for the first line that is
 * bad or has the id of another: which of the two counts could not be told. Ids are held, nothing else.
 */
export async function* readOutcomes(path: string, signal?: AbortSignal): AsyncGenerator<Outcome> {
  const seen = new Map<string, number>();
  for await (const { line, number } of linesOf(path, signal)) {
    const outcome = parseOutcome(line, path, number);
    const first = seen.get(outcome.id);
    if (first !== undefined) throw twice(path, outcome.id, first, number);
    seen.set(outcome.id, number);
    yield outcome;
  }
}

/** Reads only id, prompt and prompt_tok: labels and tasks are never looked at. An id may occur again. */
export async function* readPromptLines(path: string, signal?: AbortSignal): AsyncGenerator<PromptLine> {
  for await (const { line, number } of linesOf(path, signal)) yield parsePromptLine(line, path, number);
}

/** Writes lines of JSON (gzip when the name ends in .gz) to a temporary file, then renames it into place. */
export async function writeJsonLines(
  path: string,
  lines: Iterable<unknown> | AsyncIterable<unknown>,
  signal?: AbortSignal,
): Promise<number> {
  const temporary = `${path}.${process.pid}.tmp`;
  let count = 0;
  async function* texts(): AsyncGenerator<string> {
    for await (const line of lines) {
      count++;
      yield `${JSON.stringify(line)}\n`;
    }
  }
  const options = signal === undefined ? {} : { signal };
  try {
    const source = Readable.from(texts());
    const file = createWriteStream(temporary);
    await (path.endsWith('.gz')
      ? pipeline(source, createGzip({ level: 9 }), file, options)
      : pipeline(source, file, options));
    await rename(temporary, path);
    return count;
  } catch (cause) {
    if (!isSystemError(cause) || signal?.aborted === true) throw cause;
    throw new FleetError('data-dir.not-writable', `${path} cannot be written: ${cause.message}`, {
      hint: 'give a file in a folder that exists and that you may write to',
      cause,
    });
  } finally {
    await rm(temporary, { force: true });
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error;
}

interface NumberedLine {
  readonly line: string;
  readonly number: number;
}

async function* linesOf(path: string, signal: AbortSignal | undefined): AsyncGenerator<NumberedLine> {
  const file = createReadStream(path, signal === undefined ? {} : { signal });
  const text = path.endsWith('.gz') ? file.pipe(createGunzip()) : file;
  // pipe() does not carry errors on.
  if (text !== file) file.once('error', (error) => text.destroy(error));
  const decoder = new TextDecoder('utf-8');
  let rest = '';
  let number = 0;
  try {
    for await (const chunk of text as AsyncIterable<Buffer>) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = parts.pop() ?? '';
      if (rest.length > LONGEST_LINE) throw tooLong(path, number + 1);
      for (const line of parts) {
        number++;
        if (line.trim() !== '') yield { line, number };
      }
    }
    rest += decoder.decode();
    if (rest.trim() !== '') yield { line: rest, number: number + 1 };
  } catch (cause) {
    if (isFleetError(cause) || signal?.aborted === true) throw cause;
    throw new FleetError('outcomes.invalid', `${path} cannot be read after line ${number}: ${messageOf(cause)}`, {
      hint: 'expected a readable .jsonl file, or gzip data in a .jsonl.gz file',
      cause,
    });
  } finally {
    file.destroy();
  }
}

function twice(path: string, id: string, first: number, number: number): FleetError {
  const shown = JSON.stringify(id.slice(0, 80));
  return new FleetError('outcomes.invalid', `${path} line ${number}: id ${shown} is that of line ${first} too`, {
    hint: 'one line per prompt, with the outcomes of all models',
  });
}

function tooLong(path: string, number: number): FleetError {
  return new FleetError('outcomes.invalid', `${path} line ${number}: longer than ${LONGEST_LINE} characters`, {
    hint: 'one JSON object per line, lines ended by a line feed',
  });
}
