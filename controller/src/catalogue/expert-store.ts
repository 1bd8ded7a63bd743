import type { ModelFacts } from '@fleetgate/shared/catalogue/expert';

import type { RegisteredExpert } from './expert-registry.js';

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
  artefact(path: string): Promise<ReadArtefact | undefined>;
  rememberArtefact(artefact: ReadArtefact): Promise<void>;
}

/** Keeps experts in memory: for tests. Passes the same contract suite as the SQLite store. */
export class MemoryExpertStore implements ExpertStore {
  readonly #added = new Map<string, RegisteredExpert>();
  readonly #artefacts = new Map<string, ReadArtefact>();

  added(): Promise<readonly RegisteredExpert[]> {
    return Promise.resolve([...this.#added.values()]);
  }

  keep(added: RegisteredExpert): Promise<void> {
    this.#added.set(added.expert.id, added);
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
