import type { ModelFacts } from '@fleetgate/shared/catalogue/expert';
import type { VariantId } from '@fleetgate/shared/ids';

import type { MadeVariant, RegisteredExpert } from './expert-registry.js';

/** What a model file was found to be. Holds as long as its size and time of change do. */
export interface ReadArtefact {
  readonly path: string;
  readonly sizeBytes: number;
  readonly changedMs: number;
  readonly sha256: string;
  readonly facts: ModelFacts;
}

/** Where added experts rest, and what was read from model files, so that a restart need not read them again. */
export interface ExpertStore {
  /** Experts that were added by a user; bundled ones are read from their cards at every start. */
  added(): Promise<readonly RegisteredExpert[]>;
  keep(added: RegisteredExpert): Promise<void>;
  /** Variants made of others, of bundled experts and of added ones, in the order in which they came. */
  made(): Promise<readonly MadeVariant[]>;
  keepMade(made: MadeVariant): Promise<void>;
  dropMade(id: VariantId): Promise<void>;
  artefact(path: string): Promise<ReadArtefact | undefined>;
  rememberArtefact(artefact: ReadArtefact): Promise<void>;
}

/** Keeps experts in memory: for tests. Passes the same contract suite as the SQLite store. */
export class MemoryExpertStore implements ExpertStore {
  readonly #added = new Map<string, RegisteredExpert>();
  readonly #artefacts = new Map<string, ReadArtefact>();
  readonly #made = new Map<VariantId, MadeVariant>();

  added(): Promise<readonly RegisteredExpert[]> {
    return Promise.resolve([...this.#added.values()]);
  }

  keep(added: RegisteredExpert): Promise<void> {
    this.#added.set(added.expert.id, added);
    return Promise.resolve();
  }

  made(): Promise<readonly MadeVariant[]> {
    return Promise.resolve([...this.#made.values()]);
  }

  keepMade(made: MadeVariant): Promise<void> {
    this.#made.set(made.variant.id, made);
    return Promise.resolve();
  }

  dropMade(id: VariantId): Promise<void> {
    this.#made.delete(id);
    return Promise.resolve();
  }

  artefact(path: string): Promise<ReadArtefact | undefined> {
    return Promise.resolve(this.#artefacts.get(path));
  }

  rememberArtefact(artefact: ReadArtefact): Promise<void> {
    this.#artefacts.set(artefact.path, artefact);
    return Promise.resolve();
  }
}
