import { createHash } from 'node:crypto';
import { z } from 'zod';

import { faultsOf } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { classIdSchema } from '@fleetgate/shared/ids';

import { FEATURE_COUNT, FEATURES_VERSION } from './features.js';

const finite = z.number();
const notNegative = z.number().nonnegative();

/** What the outcomes of one class say of one expert. */
const classExpertSchema = z.object({
  mean: finite.min(0).max(1),
  /** Of the mean. */
  standardError: notNegative,
  /** What the class, times its probability, adds to the prediction. */
  offset: finite,
  /** Mean squared error of predictions for prompts of this class that were held out. */
  residualVariance: notNegative,
  outputTokens: notNegative,
});

const expertFitSchema = z.object({
  /** Name of the model in the outcome file. */
  name: z.string().min(1),
  outcomes: z.number().int().positive(),
  mean: finite.min(0).max(1),
  /** Standard deviation of its quality over all prompts. */
  spread: notNegative,
  /** Makes held-out errors, divided by their predicted sd, have unit variance. */
  sdScale: notNegative,
  /** exp of a predicted logarithm is a median: this factor makes it a mean (Duan 1983). */
  outputTokensScale: notNegative,
  outputTokensMost: notNegative,
});
export type ExpertFit = z.infer<typeof expertFitSchema>;

const classFitSchema = z.object({
  id: classIdSchema,
  /** The task it was made of. */
  label: z.string(),
  prompts: z.number().int().positive(),
  /** In the order of the model's experts. */
  experts: z.array(classExpertSchema),
});
export type ClassFit = z.infer<typeof classFitSchema>;
export type ClassExpert = z.infer<typeof classExpertSchema>;

const documentSchema = z.object({
  schema: z.literal('fleetgate-gate/1'),
  featuresVersion: z.literal(FEATURES_VERSION),
  featureCount: z.literal(FEATURE_COUNT),
  seed: z.number().int(),
  trainedOn: z.number().int().positive(),
  /** sha256 of the outcome file, so that a changed file retrains; null when it did not come from one file. */
  outcomesSha256: z.string().nullable(),
  /** Tokens of the outcome file per token of our own estimate. */
  promptTokensScale: z.number().positive(),
  temperature: z.number().positive(),
  /** Cosine similarity to the nearest class centroid below which a prompt counts as unlike the training data. */
  familiarity: notNegative,
  experts: z.array(expertFitSchema).min(1).max(1000),
  classes: z.array(classFitSchema).min(1).max(1000),
  /** Per column: quality of each expert, log(1 + output tokens) of each, score of each class, centroid of each class. */
  intercepts: z.array(finite),
  scales: z.array(notNegative),
  /** Base64 of little-endian float32, one per feature. */
  idf: z.string(),
  /** Base64 of little-endian int16, feature by feature, one per column; times the column's scale. */
  weights: z.string(),
});

/** A trained gate. Columns of `weights`: see the schema. */
export interface GateModel extends Omit<z.infer<typeof documentSchema>, 'schema' | 'idf' | 'weights'> {
  readonly idf: Float32Array;
  readonly weights: Int16Array;
}

export function columnsOf(experts: number, classes: number): number {
  return 2 * experts + 2 * classes;
}

/** The gate file's text: one JSON object, `fleetgate-gate/1`, closed by a digest of the rest. */
export function encodeGateModel(model: GateModel): string {
  const document = {
    schema: 'fleetgate-gate/1',
    ...model,
    idf: base64(model.idf),
    weights: base64(model.weights),
  };
  const text = JSON.stringify(document);
  return `${text.slice(0, -1)},"digest":"${digestOf(text)}"}\n`;
}

/** Reads a gate file's text; throws `gate.invalid-model` for anything that `encodeGateModel` did not write. */
export function decodeGateModel(text: string, where: string): GateModel {
  const end = /,"digest":"([0-9a-f]{64})"\}\s*$/.exec(text.slice(-120));
  const body = end === null ? text : `${text.slice(0, text.lastIndexOf(',"digest":"'))}}`;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (cause) {
    throw invalid(where, `expected a gate file (JSON), got ${text.length} characters that do not parse`, cause);
  }
  const parsed = documentSchema.safeParse(value);
  if (!parsed.success) throw invalid(where, faultsOf(parsed.error));
  if (end === null) throw invalid(where, 'digest: missing, the file is cut short');
  if (end[1] !== digestOf(body)) throw invalid(where, 'digest: does not match, the file was changed or damaged');
  const { schema: _, idf, weights, ...rest } = parsed.data;
  const model: GateModel = { ...rest, idf: floats(idf), weights: shorts(weights) };
  const fault = shapeFault(model);
  if (fault !== undefined) throw invalid(where, fault);
  return model;
}

function shapeFault(model: GateModel): string | undefined {
  const columns = columnsOf(model.experts.length, model.classes.length);
  const expectations: readonly (readonly [string, number, number])[] = [
    ['idf', model.idf.length, FEATURE_COUNT],
    ['weights', model.weights.length, FEATURE_COUNT * columns],
    ['intercepts', model.intercepts.length, columns],
    ['scales', model.scales.length, columns],
    ...model.classes.map((one) => [`classes ${one.id}`, one.experts.length, model.experts.length] as const),
  ];
  const wrong = expectations.find(([, got, expected]) => got !== expected);
  if (wrong !== undefined) return `${wrong[0]}: expected ${wrong[2]} values, got ${wrong[1]}`;
  const names = new Set(model.experts.map((expert) => expert.name));
  if (names.size !== model.experts.length) return 'experts: a name occurs twice';
  if (!model.idf.every((value) => Number.isFinite(value))) return 'idf: holds a value that is not finite';
  return undefined;
}

function invalid(where: string, what: string, cause?: unknown): FleetError {
  return new FleetError('gate.invalid-model', `${where}: ${what}`, {
    hint: 'train it again: fleetgate gate train OUTCOMES.jsonl.gz --out GATE.json',
    cause,
  });
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function base64(values: Float32Array | Int16Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
}

// Copied, since the pool that Buffer takes its memory from is not aligned.
function floats(text: string): Float32Array {
  const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
  return new Float32Array(bytes.buffer, 0, Math.floor(bytes.byteLength / 4));
}

function shorts(text: string): Int16Array {
  const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
  return new Int16Array(bytes.buffer, 0, Math.floor(bytes.byteLength / 2));
}
