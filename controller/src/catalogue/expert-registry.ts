import { FleetError } from '@fleetgate/shared/errors';
import { type Expert, type Variant, RESERVED_NAMES } from '@fleetgate/shared/catalogue/expert';
import type { ExpertId, VariantId } from '@fleetgate/shared/ids';
import { type Observable, Subject } from 'rxjs';

import type { Catalogue } from './catalogue.js';

/** An expert and where the files of its variants lie on this machine. */
export interface RegisteredExpert {
  readonly expert: Expert;
  readonly paths: ReadonlyMap<VariantId, string>;
}

/** A variant made of another one, and where its file lies on this machine. */
export interface MadeVariant {
  readonly variant: Variant;
  readonly path: string;
}

/** The experts that the fleet may serve: the only writer of the catalogue. */
export class ExpertRegistry implements Catalogue {
  readonly #experts = new Map<ExpertId, Expert>();
  readonly #variants = new Map<VariantId, Variant>();
  readonly #pathsBySha256 = new Map<string, string>();
  readonly #changes = new Subject<Expert>();

  get experts(): ReadonlyMap<ExpertId, Expert> {
    return this.#experts;
  }

  get variants(): ReadonlyMap<VariantId, Variant> {
    return this.#variants;
  }

  /** Every expert as it is added, or as its variants change. */
  get changes$(): Observable<Expert> {
    return this.#changes;
  }

  /** Adds an expert, or throws `expert.exists` for a name or variant that is taken; nothing is added then. */
  add({ expert, paths }: RegisteredExpert): void {
    this.checkFree(expert.id);
    for (const variant of expert.variants) {
      this.checkVariantFree(variant.id);
      if (!paths.has(variant.id)) {
        throw new FleetError('internal.invariant', `variant ${variant.id} comes without its file`);
      }
    }
    this.#experts.set(expert.id, expert);
    for (const variant of expert.variants) {
      this.#variants.set(variant.id, variant);
      const path = paths.get(variant.id);
      if (path !== undefined) this.#pathsBySha256.set(variant.sha256, path);
    }
    this.#changes.next(expert);
  }

  /** Adds a variant to its expert, or throws `expert.exists` or `model.unknown`; nothing is added then. */
  addVariant({ variant, path }: MadeVariant): void {
    this.checkVariantFree(variant.id);
    const expert = this.#experts.get(variant.expertId);
    if (expert === undefined) {
      throw new FleetError(
        'model.unknown',
        `variant ${variant.id} is of expert ${variant.expertId}, which is not there`,
      );
    }
    this.#variants.set(variant.id, variant);
    this.#pathsBySha256.set(variant.sha256, path);
    this.#change({ ...expert, variants: [...expert.variants, variant] });
  }

  /** Makes a file beside a variant's own, such as an adapter's, one that can be fetched by digest. */
  addArtefact(sha256: string, path: string): void {
    this.#pathsBySha256.set(sha256, path);
  }

  /** Takes a variant away. Its file can still be fetched by digest until the next start. */
  removeVariant(id: VariantId): void {
    const expert = this.#experts.get(this.#variants.get(id)?.expertId ?? ('' as ExpertId));
    if (expert === undefined) return;
    this.#variants.delete(id);
    this.#change({ ...expert, variants: expert.variants.filter((variant) => variant.id !== id) });
  }

  /** Throws `expert.exists` when there is a variant of that name. */
  checkVariantFree(id: VariantId): void {
    const taken = this.#variants.get(id);
    if (taken !== undefined) throw exists(`variant ${id} is one of expert ${taken.expertId}`);
  }

  /** Throws `expert.exists` when there is an expert of that name. */
  checkFree(id: ExpertId): void {
    if (RESERVED_NAMES.has(id)) throw exists(`the name ${id} stands for a way of answering`);
    if (this.#experts.has(id)) throw exists(`an expert named ${id} is there already`);
  }

  /** Where an artefact lies on this machine. */
  pathOf(sha256: string): string | undefined {
    return this.#pathsBySha256.get(sha256);
  }

  /** The variant whose artefact has this digest. */
  variantOf(sha256: string): Variant | undefined {
    return [...this.#variants.values()].find((variant) => variant.sha256 === sha256);
  }

  #change(expert: Expert): void {
    this.#experts.set(expert.id, expert);
    this.#changes.next(expert);
  }
}

function exists(what: string): FleetError {
  return new FleetError('expert.exists', what, {
    hint: 'give it another name with --name; `fleetgate experts` lists all',
  });
}
