/** What is followed of one gate's classes, and where following begins. Pure. */
import type { ClassId, ExpertId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { betweenClasses, type FoundQuality, type Predicted } from './found-quality.js';
import type { Gate } from './gate.js';
import { scaleToUnit } from './spherical-k-means.js';
import { settled, type TrackedClass } from './tracked-class.js';

/** A class as training left it. */
interface TrainedClass {
  readonly id: ClassId;
  readonly label: string;
  readonly prompts: number;
  readonly centroid: ArrayLike<number>;
}

/** A prompt that belongs to no class. */
export interface Stray {
  readonly place: Float64Array;
  readonly predicted: Predicted;
  readonly at: UnixMs;
}

/** Everything a tracker holds, for its record. */
export interface TrackerState {
  readonly experts: readonly ExpertId[];
  /** Subtracted from what the gate says of where a prompt lies: what all prompts have in common tells none of them apart. */
  readonly origin: Float64Array;
  /** How far an expert's quality on a found class is in doubt (sd) without evidence. */
  readonly doubt: number;
  /** Trained ones first. */
  readonly classes: readonly TrackedClass[];
  readonly qualities: ReadonlyMap<ClassId, FoundQuality>;
  /** Oldest first. */
  readonly strays: readonly Stray[];
  /** Prompts seen. */
  readonly count: number;
  /** Classes ever found: an id is never given twice. */
  readonly births: number;
  readonly changedAt: UnixMs | undefined;
}

/** The state at the start: every class where training left it. Undefined for a gate that tells nothing of where prompts lie. */
export function startState(gate: Gate, at: UnixMs): TrackerState | undefined {
  const classes = gate.classes.flatMap((id): TrainedClass[] => {
    const { label, prompts, centroid } = gate.describe?.(id) ?? {};
    return centroid === undefined ? [] : [{ id, label: label ?? id, prompts: prompts ?? 0, centroid }];
  });
  if (classes.length === 0) return undefined;
  const origin = originOf(classes);
  return {
    experts: [...gate.experts],
    origin,
    doubt: betweenClasses(
      gate,
      classes.map(({ id }) => id),
    ),
    classes: classes.map(({ id, label, prompts, centroid }) =>
      settled(id, label, 'trained', placeOf(centroid, origin) ?? origin, prompts, at),
    ),
    qualities: new Map(),
    strays: [],
    count: 0,
    births: 0,
    changedAt: undefined,
  };
}

/** The mean of the centroids; of one alone 0, for nothing of it would be left. */
function originOf(classes: readonly TrainedClass[]): Float64Array {
  const origin = new Float64Array(classes[0]?.centroid.length ?? 0);
  if (classes.length < 2) return origin;
  return origin.map((_, at) => classes.reduce((sum, { centroid }) => sum + (centroid[at] ?? 0), 0) / classes.length);
}

/** Direction from the origin to a prompt; undefined for a prompt of nothing known. */
export function placeOf(embedding: ArrayLike<number> | undefined, origin: Float64Array): Float64Array | undefined {
  if (embedding === undefined || embedding.length !== origin.length) return undefined;
  const place = new Float64Array(origin.length);
  let isEmpty = true;
  for (let at = 0; at < place.length; at++) {
    const own = embedding[at] ?? 0;
    if (!Number.isFinite(own)) return undefined;
    if (own !== 0) isEmpty = false;
    place[at] = own - (origin[at] ?? 0);
  }
  return isEmpty ? undefined : scaleToUnit(place);
}
