import { createHash } from 'node:crypto';
import { z } from 'zod';

import { faultsOf } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { classIdSchema } from '@fleetgate/shared/ids';

import { FEATURES_VERSION, SHAPES } from './features.js';
import { BLOCK } from './projection.js';

const VERSION = 2;
const SCHEMA = `fleetgate-gate/${VERSION}` as const;

const finite = z.number();
const notNegative = z.number().nonnegative();

/** What the outcomes of one class say of one expert. */
const classExpertSchema = z.object({
  mean: finite.min(0).max(1),
  /** Of the mean. */
  standardError: notNegative,
  /** What the class, times its probability, adds to the predicted quality. */
  offset: finite,
  /** Mean squared error of predictions for prompts of this class that were held out. */
  residualVariance: notNegative,
  outputTokens: notNegative,
  /** What the class, times its probability, adds to the predicted answer length, tokens. */
  lengthOffset: finite,
});

const expertFitSchema = z.object({
  /** Name of the model in the outcome file. */
  name: z.string().min(1),
  outcomes: z.number().int().positive(),
  mean: finite.min(0).max(1),
  /** Standard deviation of its quality over all prompts. */
  spread: notNegative,
  intercept: finite,
  /** Variance of an error: classPart * the class's residual variance + binomialPart * p (1 - p). */
  classPart: notNegative,
  binomialPart: notNegative,
  lengthIntercept: finite,
  outputTokensMost: notNegative,
  /** What its sureness of an answer says of it; absent where the outcomes do not tell. */
  confidence: z.object({ mean: finite, sd: notNegative, slope: notNegative }).optional(),
});
export type ExpertFit = z.infer<typeof expertFitSchema>;

const classFitSchema = z.object({
  id: classIdSchema,
  label: z.string(),
  /** Index of the task it is, or is a part of; the classes of a task follow one another. */
  task: z.number().int().nonnegative(),
  prompts: z.number().int().nonnegative(),
  /** In the order of the model's experts. */
  experts: z.array(classExpertSchema),
});
export type ClassFit = z.infer<typeof classFitSchema>;
export type ClassExpert = z.infer<typeof classExpertSchema>;

/** What the gate said of a fixed prompt where it was trained; see `self-test.ts`. Lists by expert, and the place. */
const probeSchema = z.object({
  prompt: z.string().max(20_000),
  classIndex: z.number().int(),
  promptTokens: notNegative,
  novelty: finite,
  quality: z.array(finite),
  sd: z.array(finite),
  outputTokens: z.array(finite),
  embedding: z.array(finite),
});
export type Probe = z.infer<typeof probeSchema>;

const documentSchema = z.object({
  schema: z.literal(SCHEMA),
  featuresVersion: z.literal(FEATURES_VERSION),
  seed: z.number().int(),
  trainedOn: z.number().int().positive(),
  /** sha256 of the outcome file, so that a changed file retrains; null when it did not come from one file. */
  outcomesSha256: z.string().nullable(),
  /** Tokens of the outcome file per token of our own estimate. */
  promptTokensScale: z.number().positive(),
  /** Of the softmax over task scores. */
  temperature: z.number().positive(),
  /** `familiarityOf` a prompt below which it counts as unlike the training data. */
  familiarity: notNegative,
  tasks: z
    .array(z.object({ label: z.string(), intercept: finite, atypical: finite, typical: finite }))
    .min(1)
    .max(1000),
  experts: z.array(expertFitSchema).min(1).max(1000),
  classes: z.array(classFitSchema).min(1).max(1000),
  /** How many of the grams are words and word pairs; they come first. */
  words: z.number().int().nonnegative(),
  /** Dimensions of the space that prompts are laid out in. */
  rank: z.number().int().positive().max(4096),
  /** Per direction. */
  scales: z.array(notNegative),
  probes: z.array(probeSchema).max(100),
});

interface Arrays {
  /** Hash of each gram. */
  readonly grams: Int32Array;
  /** Per gram. */
  readonly idf: Float32Array;
  /** Feature by feature (grams, then shape figures): each direction, times its scale; dimensions, then tasks, then 0. */
  readonly directions: Int16Array;
  /** Class by class: a unit vector of the space. */
  readonly centroids: Float32Array;
  /** Expert by expert, per dimension. */
  readonly qualityWeights: Float32Array;
  readonly lengthWeights: Float32Array;
}

const fileSchema = documentSchema.extend({
  grams: z.string(),
  idf: z.string(),
  directions: z.string(),
  centroids: z.string(),
  qualityWeights: z.string(),
  lengthWeights: z.string(),
});

/** A trained gate. */
export interface GateModel extends Omit<z.infer<typeof documentSchema>, 'schema'>, Arrays {}

/** Directions a feature has in the file: dimensions and tasks, rounded up so that loops are even. */
export function widthOf(rank: number, tasks: number): number {
  return Math.ceil((rank + tasks) / BLOCK) * BLOCK;
}

/** The gate file's text: one JSON object, closed by a digest of the rest; arrays are base64 of little-endian numbers. */
export function encodeGateModel(model: GateModel): string {
  const text = JSON.stringify({
    schema: SCHEMA,
    ...model,
    grams: base64(model.grams),
    idf: base64(model.idf),
    directions: base64(model.directions),
    centroids: base64(model.centroids),
    qualityWeights: base64(model.qualityWeights),
    lengthWeights: base64(model.lengthWeights),
  });
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
  const other = otherVersion(value);
  if (other !== undefined) {
    throw invalid(where, `schema: a gate file of version ${other}, this Fleetgate reads version ${VERSION}`);
  }
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) throw invalid(where, faultsOf(parsed.error));
  if (end === null) throw invalid(where, 'digest: missing, the file is cut short');
  if (end[1] !== digestOf(body)) throw invalid(where, 'digest: does not match, the file was changed or damaged');
  const { schema: _, ...rest } = parsed.data;
  const model: GateModel = {
    ...rest,
    grams: new Int32Array(bytesOf(rest.grams)),
    idf: new Float32Array(bytesOf(rest.idf)),
    directions: new Int16Array(bytesOf(rest.directions)),
    centroids: new Float32Array(bytesOf(rest.centroids)),
    qualityWeights: new Float32Array(bytesOf(rest.qualityWeights)),
    lengthWeights: new Float32Array(bytesOf(rest.lengthWeights)),
  };
  const fault = shapeFault(model);
  if (fault !== undefined) throw invalid(where, fault);
  return model;
}

function otherVersion(value: unknown): string | undefined {
  const schema = typeof value === 'object' && value !== null && 'schema' in value ? value.schema : undefined;
  const version = typeof schema === 'string' ? /^fleetgate-gate\/(\d{1,9})$/.exec(schema)?.[1] : undefined;
  return version === String(VERSION) ? undefined : version;
}

function shapeFault(model: GateModel): string | undefined {
  const [experts, classes] = [model.experts.length, model.classes.length];
  const width = widthOf(model.rank, model.tasks.length);
  const expectations: readonly (readonly [string, number, number])[] = [
    ['idf', model.idf.length, model.grams.length],
    ['directions', model.directions.length, (model.grams.length + SHAPES) * width],
    ['scales', model.scales.length, width],
    ['centroids', model.centroids.length, classes * model.rank],
    ['qualityWeights', model.qualityWeights.length, experts * model.rank],
    ['lengthWeights', model.lengthWeights.length, experts * model.rank],
    ...model.classes.map((one) => [`classes ${one.id}`, one.experts.length, experts] as const),
  ];
  const wrong = expectations.find(([, got, expected]) => got !== expected);
  if (wrong !== undefined) return `${wrong[0]}: expected ${wrong[2]} values, got ${wrong[1]}`;
  const names = new Set(model.experts.map((expert) => expert.name));
  if (names.size !== model.experts.length) return 'experts: a name occurs twice';
  if (new Set(model.grams).size !== model.grams.length) return 'grams: one occurs twice';
  if (model.words > model.grams.length) return 'words: more than there are grams';
  if (model.classes.some(({ task }, at) => task >= model.tasks.length || task < (model.classes[at - 1]?.task ?? 0))) {
    return 'classes: not in the order of their tasks';
  }
  for (const name of ['idf', 'centroids', 'qualityWeights', 'lengthWeights'] as const) {
    if (!model[name].every((value) => Number.isFinite(value))) return `${name}: holds a value that is not finite`;
  }
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

function base64(values: Float32Array | Int16Array | Int32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
}

/** Copied, since the pool that Buffer takes its memory from is not aligned; cut to whole 4 bytes. */
function bytesOf(text: string): ArrayBuffer {
  const bytes = Buffer.from(text, 'base64');
  const copy = new Uint8Array(bytes.byteLength & ~3);
  copy.set(bytes.subarray(0, copy.byteLength));
  return copy.buffer;
}
