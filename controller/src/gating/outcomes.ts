import { z } from 'zod';

import { faultsOf } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';

/** Longest line of an outcome or prompt file that is read, characters: a 10 MB prompt fits. */
export const LONGEST_LINE = 32 * 1024 * 1024;

const perModel = <T extends z.ZodType>(value: T) => z.record(z.string().min(1).max(200), value);

/** What is known of a prompt before it is answered. `prompt_tok` is estimated when it is not given. */
export const promptLineSchema = z.object({
  id: z.union([z.string().min(1), z.number()]).transform(String),
  prompt: z.string(),
  prompt_tok: z.number().nonnegative().optional(),
});
export type PromptLine = z.infer<typeof promptLineSchema>;

/**
 * One measured prompt: how well each model answered it. Column names as in public routing data sets. Models may be
 * missing from a line; other columns are ignored.
 */
export const outcomeSchema = promptLineSchema.extend({
  /** What kind of prompt it is; becomes a prompt class of the gate. */
  task: z.string().max(200).optional(),
  /** Quality of each model's answer, 0..1. */
  y: perModel(z.number().min(0).max(1)).refine((y) => Object.keys(y).length > 0, 'at least one model'),
  /** Bits per byte of the reference answer under each model. */
  bpb: perModel(z.number().nonnegative()).optional(),
  /** Tokens of each model's own answer; null when not known. */
  out_tok: perModel(z.number().nonnegative().nullable()).optional(),
  /** How sure each model was of its own answer: mean natural log-probability of its tokens; null when not known. */
  conf: perModel(z.number().nonpositive().nullable()).optional(),
  /** Each model's short final answer; null when it gave none. */
  ans: perModel(z.string().nullable()).optional(),
});
export type Outcome = z.infer<typeof outcomeSchema>;

/** Throws `outcomes.invalid` naming file, line and columns. */
export function parseOutcome(line: string, file: string, lineNumber: number): Outcome {
  return parseLine(outcomeSchema, line, file, lineNumber, 'id, prompt, y');
}

/** As `parseOutcome`, reading only `id`, `prompt` and `prompt_tok`. */
export function parsePromptLine(line: string, file: string, lineNumber: number): PromptLine {
  return parseLine(promptLineSchema, line, file, lineNumber, 'id, prompt');
}

function parseLine<T>(schema: z.ZodType<T>, line: string, file: string, lineNumber: number, columns: string): T {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    const notJson = /\b(?:NaN|Infinity)\b/.test(line)
      ? '; NaN and Infinity are not JSON, leave out what was not measured'
      : '';
    throw invalid(file, lineNumber, `expected one JSON object, got ${excerpt(line)}${notJson}`, columns, cause);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid(file, lineNumber, `${faultsOf(parsed.error)}${columnsOf(value)}`, columns);
}

function invalid(file: string, lineNumber: number, what: string, columns: string, cause?: unknown): FleetError {
  return new FleetError('outcomes.invalid', `${file} line ${lineNumber}: ${what}`, {
    hint: `every line is one JSON object with at least the columns ${columns}`,
    cause,
  });
}

/** A column that is missing is often there by another name. */
function columnsOf(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return '';
  const found = Object.keys(value).map((name) => name.slice(0, 40));
  return `; its columns: ${found.slice(0, 12).join(', ') || 'none'}`;
}

function excerpt(line: string): string {
  return line.length > 60 ? `${JSON.stringify(line.slice(0, 60))}...` : JSON.stringify(line);
}
