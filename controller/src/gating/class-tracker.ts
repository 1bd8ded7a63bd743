import { type ClassId, classId, type ExpertId } from '@fleetgate/shared/ids';
import { elapsed, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import { MOST_NOVELTY } from './abstention.js';
import { birthIn } from './class-birth.js';
import { type ClassChange, FOUND_PREFIX, foundLabel, mergeAmong } from './class-changes.js';
import { type FoundQuality, predictedOf, scoreOfFound, withPrompt } from './found-quality.js';
import type { ExpertScore, GateScore } from './gate.js';
import { dot } from './spherical-k-means.js';
import { counted, covers, moved, settled, type TrackedClass } from './tracked-class.js';
import { placeOf, type TrackerState } from './tracker-state.js';

/** Classes in all, for planning decides class by class. */
export const MOST_CLASSES = 64;
/** Prompts of no class that are remembered: the newest. */
export const RESERVOIR = 256;
/** A prompt whose likeliest class is less likely than this may be one of a class that is not known yet. */
const UNSURE = 0.9;
/**
 * A found class takes a prompt from its likeliest class when the logarithm of that one's odds, less `OVERCONFIDENCE`, is
 * lower than `SHARPNESS` times what the prompt is more like the found class (in cosine): the gate shares all probability
 * out among classes it was trained on, so its odds are too high where another is possible.
 */
const OVERCONFIDENCE = 3;
const SHARPNESS = 10;
/** Classes that are found come and go no faster: each change is a reason to plan anew. */
const CHANGE_PAUSE = milliseconds(10 * 60_000);
/** A found class without a prompt for as long is gone, and so is a prompt that waits for others of its kind. */
const FORGOTTEN = milliseconds(7 * 86_400_000);

/** What of a scored prompt is followed. Its text is no part of it. */
export type Sighting = Pick<GateScore, 'classId' | 'embedding' | 'novelty' | 'certainty' | 'experts'>;

/**
 * Follows the classes of one trained gate's prompts through the traffic (AdaptDHM): the trained ones as they drift, and
 * those that nobody trained for, which it finds, keeps while they have traffic, and drops. Memory and work per prompt are
 * bounded whatever comes; the same prompts at the same times give the same classes. Single writer, no I/O.
 */
export class ClassTracker {
  #state: TrackerState;
  #found: readonly ClassId[];

  constructor(state: TrackerState) {
    this.#state = state;
    this.#found = foundIn(state);
  }

  get state(): TrackerState {
    return this.#state;
  }

  /** Ids of the found classes; the same list until they change. */
  get found(): readonly ClassId[] {
    return this.#found;
  }

  /** The class of a prompt: what the gate says, unless it is unsure and the prompt is more like a found class. */
  classOf(score: Sighting): ClassId {
    const odds = oddsOf(score);
    // No cosine differs by more than 2.
    if (this.#found.length === 0 || odds >= 2 * SHARPNESS) return score.classId;
    const place = placeOf(score.embedding, this.#state.origin);
    if (place === undefined) return score.classId;
    let rival = -1;
    let nearest: TrackedClass | undefined;
    let most = -1;
    for (const one of this.#state.classes) {
      const cosine = dot(one.centre, place);
      if (one.origin === 'trained') rival = Math.max(rival, cosine);
      else if (cosine > most) [nearest, most] = [one, cosine];
    }
    if (nearest === undefined || !covers(nearest, most)) return score.classId;
    return SHARPNESS * (most - rival) > odds ? nearest.id : score.classId;
  }

  /** One prompt of the traffic, put into its class by `classOf`. */
  observe(score: Sighting, at: UnixMs): void {
    const { classes, qualities, experts, origin, strays } = this.#state;
    const count = this.#state.count + 1;
    const place = placeOf(score.embedding, origin);
    const own = classes.find(({ id }) => id === score.classId);
    const isMember = own?.origin === 'found' || isSure(score);
    let next: TrackerState = { ...this.#state, count };
    if (own !== undefined) {
      const seen = counted(own, count, at);
      const now = place !== undefined && isMember ? moved(seen, place) : seen;
      next = { ...next, classes: classes.map((one) => (one === own ? now : one)) };
    }
    if (own?.origin === 'found') {
      const quality = withPrompt(qualities.get(own.id), predictedOf(score.experts, experts));
      next = { ...next, qualities: new Map(qualities).set(own.id, quality) };
    }
    if (place !== undefined && !isMember) {
      const stray = { place, predicted: predictedOf(score.experts, experts), at };
      next = { ...next, strays: [...strays.slice(strays.length < RESERVOIR ? 0 : 1), stray] };
    }
    this.#state = next;
  }

  /** Makes at most one change to the set of classes; milliseconds of work, so not for every prompt. */
  review(at: UnixMs): ClassChange | undefined {
    const { changedAt } = this.#state;
    const strays = this.#state.strays.filter((stray) => elapsed(stray.at, at) < FORGOTTEN);
    this.#state = { ...this.#state, strays };
    if (changedAt !== undefined && elapsed(changedAt, at) < CHANGE_PAUSE) return undefined;
    const change = this.#death(at) ?? this.#merge() ?? this.#birth(at);
    if (change === undefined) return undefined;
    this.#state = { ...this.#state, changedAt: at };
    this.#found = foundIn(this.#state);
    return change;
  }

  /** What an expert is worth on a found class; undefined for other classes, and experts it was not trained on. */
  quality(classId: ClassId, expert: ExpertId): ExpertScore | undefined {
    const quality = this.#state.qualities.get(classId);
    const at = this.#state.experts.indexOf(expert);
    return quality === undefined || at < 0 ? undefined : scoreOfFound(quality, at, this.#state.doubt);
  }

  #death(at: UnixMs): ClassChange | undefined {
    const gone = this.#state.classes.find(
      ({ origin, lastAt }) => origin === 'found' && elapsed(lastAt, at) >= FORGOTTEN,
    );
    if (gone === undefined) return undefined;
    this.#drop(gone);
    return { kind: 'forgotten', id: gone.id, label: gone.label };
  }

  #merge(): ClassChange | undefined {
    const merge = mergeAmong(this.#state.classes);
    if (merge === undefined) return undefined;
    this.#drop(merge.from);
    return { kind: 'merged', id: merge.from.id, label: merge.from.label, into: merge.into.id };
  }

  #birth(at: UnixMs): ClassChange | undefined {
    const { classes, strays, births } = this.#state;
    if (classes.length >= MOST_CLASSES) return undefined;
    const birth = birthIn(
      strays.map(({ place }) => place),
      classes.map(({ centre }) => centre),
    );
    if (birth === undefined) return undefined;
    const { cosine, cosineSquare } = birth;
    const members = new Set(birth.members.map((index) => strays[index]));
    let number = births + 1;
    while (classes.some((one) => one.id === `${FOUND_PREFIX}${number}`)) number++;
    const id = classId(`${FOUND_PREFIX}${number}`);
    const label = foundLabel(birth.centre, classes);
    const quality = [...members].reduce<FoundQuality | undefined>(
      (sum, member) => (member === undefined ? sum : withPrompt(sum, member.predicted)),
      undefined,
    );
    this.#state = {
      ...this.#state,
      classes: [...classes, { ...settled(id, label, 'found', birth.centre, members.size, at), cosine, cosineSquare }],
      qualities: quality === undefined ? this.#state.qualities : new Map(this.#state.qualities).set(id, quality),
      strays: strays.filter((stray) => !members.has(stray)),
      births: number,
    };
    return { kind: 'found', id, label, prompts: members.size };
  }

  #drop(gone: TrackedClass): void {
    const qualities = new Map(this.#state.qualities);
    qualities.delete(gone.id);
    this.#state = { ...this.#state, qualities, classes: this.#state.classes.filter((one) => one !== gone) };
  }
}

function isSure({ certainty = 0, novelty = 0 }: Sighting): boolean {
  return certainty >= UNSURE && novelty <= MOST_NOVELTY;
}

/** Logarithm of the odds that a prompt is of its likeliest class; 0 for a prompt unlike all that the gate was trained on. */
function oddsOf({ certainty = 0, novelty = 0 }: Sighting): number {
  return novelty > MOST_NOVELTY ? 0 : Math.log(certainty / (1 - certainty)) - OVERCONFIDENCE;
}

function foundIn({ classes }: TrackerState): readonly ClassId[] {
  return classes.filter(({ origin }) => origin === 'found').map(({ id }) => id);
}
