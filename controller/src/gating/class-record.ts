/** The record of what is followed of a gate's classes: plain JSON, no text of any prompt. Pure. */
import { z } from 'zod';

import { check } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { classIdSchema, expertIdSchema } from '@fleetgate/shared/ids';
import { type UnixMs } from '@fleetgate/shared/units/quantity';

import { MOST_CLASSES, RESERVOIR } from './class-tracker.js';
import { FIGURES } from './found-quality.js';
import { unit } from './spherical-k-means.js';
import type { TrackerState } from './tracker-state.js';

const SCHEMA = 'fleetgate-classes/1';
/** As many as a gate file may have. */
const MOST_TRAINED = 1000;
const MOST_DIMENSIONS = 4096;
/** Digits that say where a prompt lies, and how good an answer may be. */
const DIGITS = 5;

const time = z.number().transform((value) => value as UnixMs);
const count = z.number().int().nonnegative();
const vectorSchema = z
  .array(z.number())
  .max(MOST_DIMENSIONS)
  .transform((values) => Float64Array.from(values));
/** Null: not known. */
const figuresSchema = z
  .array(z.number().nullable())
  .max(FIGURES * MOST_TRAINED)
  .transform((values) => Float64Array.from(values, (value) => value ?? NaN));

const classSchema = z.object({
  id: classIdSchema,
  label: z.string().max(500),
  origin: z.enum(['trained', 'found']),
  home: vectorSchema,
  centre: vectorSchema,
  weight: z.number().min(1),
  cosine: z.number().min(-1).max(1),
  cosineSquare: z.number().min(0).max(1),
  seen: count,
  recent: z.number().nonnegative(),
  recentAt: count,
  since: time,
  lastAt: time,
});

const recordSchema = z.object({
  schema: z.literal(SCHEMA),
  /** Which trained gate's classes these are (`gate-fingerprint.ts`). */
  gate: z.string(),
  experts: z.array(expertIdSchema).max(MOST_TRAINED),
  origin: vectorSchema,
  doubt: z.number().nonnegative(),
  classes: z.array(classSchema).max(MOST_TRAINED + MOST_CLASSES),
  qualities: z.array(z.object({ id: classIdSchema, mean: figuresSchema, prompts: count })).max(MOST_CLASSES),
  strays: z.array(z.object({ place: vectorSchema, predicted: figuresSchema, at: time })).max(RESERVOIR),
  count,
  births: count,
  changedAt: time.nullable(),
});

export interface ClassRecord {
  readonly gate: string;
  readonly state: TrackerState;
}

export function toClassRecord({ gate, state }: ClassRecord): z.input<typeof recordSchema> {
  return {
    schema: SCHEMA,
    gate,
    ...state,
    experts: [...state.experts],
    origin: rounded(state.origin),
    classes: state.classes.map((one) => ({ ...one, home: rounded(one.home), centre: rounded(one.centre) })),
    qualities: [...state.qualities].map(([id, { mean, prompts }]) => ({ id, mean: nullable(mean), prompts })),
    strays: state.strays.map(({ place, predicted, at }) => ({
      place: rounded(place),
      predicted: nullable(predicted),
      at,
    })),
    changedAt: state.changedAt ?? null,
  };
}

/** Reads what `toClassRecord` gave; throws `store.corrupt` for anything else. */
export function fromClassRecord(record: unknown): ClassRecord {
  const { schema: _, gate, ...read } = check(recordSchema, record, 'store.corrupt', 'class record');
  const dimensions = read.origin.length;
  const vectors = [
    ...read.classes.flatMap(({ home, centre }) => [home, centre]),
    ...read.strays.map((one) => one.place),
  ];
  const figures = [...read.qualities.map(({ mean }) => mean), ...read.strays.map(({ predicted }) => predicted)];
  const found = read.classes.filter(({ origin }) => origin === 'found').map(({ id }) => id);
  const isWhole =
    vectors.every(({ length }) => length === dimensions) &&
    figures.every(({ length }) => length === FIGURES * read.experts.length) &&
    new Set(read.classes.map(({ id }) => id)).size === read.classes.length &&
    found.every((id) => read.qualities.some((quality) => quality.id === id));
  if (!isWhole) throw new FleetError('store.corrupt', 'class record: its figures do not fit together');
  const state: TrackerState = {
    ...read,
    // Rounding has made them a little longer or shorter than 1.
    classes: read.classes.map((one) => ({ ...one, home: unit(one.home), centre: unit(one.centre) })),
    qualities: new Map(read.qualities.map(({ id, mean, prompts }) => [id, { mean, prompts }])),
    changedAt: read.changedAt ?? undefined,
  };
  return { gate, state };
}

function rounded(values: Float64Array): number[] {
  return Array.from(values, (value) => Number(value.toFixed(DIGITS)));
}

function nullable(values: Float64Array): (number | null)[] {
  return Array.from(values, (value) => (Number.isFinite(value) ? Number(value.toFixed(DIGITS)) : null));
}
