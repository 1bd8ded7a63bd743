import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { ReleaseKind, SignedRelease } from '@fleetgate/shared/catalogue/release';
import { FleetError } from '@fleetgate/shared/errors';

/** A release and where its content lies on this machine. */
export interface KeptRelease {
  readonly release: SignedRelease;
  readonly path: string;
}

export interface ReleaseStore {
  load(): Promise<readonly KeptRelease[]>;
  add(kept: KeptRelease): Promise<void>;
}

/** Files as devices are to have them. */
export interface ReleaseShelf {
  /** Throws `artefact.unavailable`. */
  measure(file: string): Promise<{ readonly sha256: string; readonly sizeBytes: number }>;
  /** Keeps a copy; gives its path. */
  keep(file: string, sha256: string): Promise<string>;
  /** From now on devices may fetch it by digest. */
  offer(sha256: string, path: string): void;
}

/**
 * Releases that were signed elsewhere: the controller has no key that devices trust, so who takes it over cannot make
 * them take anything. The only writer of releases.
 */
export class ReleaseBook {
  readonly #store: ReleaseStore;
  readonly #shelf: ReleaseShelf;
  #kept: readonly KeptRelease[] = [];

  constructor(store: ReleaseStore, shelf: ReleaseShelf) {
    this.#store = store;
    this.#shelf = shelf;
  }

  /** Reads what is kept, also what another controller has kept meanwhile. */
  async load(): Promise<void> {
    this.#kept = await this.#store.load();
    for (const { release, path } of this.#kept) this.#shelf.offer(release.manifest.sha256, path);
  }

  /** In order of kind, name and number. */
  list(): readonly SignedRelease[] {
    const key = ({ manifest: { kind, name, sequence } }: SignedRelease): string =>
      `${kind} ${name} ${String(sequence).padStart(16, '0')}`;
    return this.#kept.map(({ release }) => release).toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
  }

  find(kind: ReleaseKind, name: string, sequence: number): SignedRelease | undefined {
    return this.list().find(
      ({ manifest }) => manifest.kind === kind && manifest.name === name && manifest.sequence === sequence,
    );
  }

  /** Of the file of a variant, the newest. */
  ofVariant({ id, sha256 }: Pick<Variant, 'id' | 'sha256'>): SignedRelease | undefined {
    return this.list().findLast(
      ({ manifest }) => manifest.kind === 'variant' && manifest.name === id && manifest.sha256 === sha256,
    );
  }

  /**
   * Takes a release whose content is `file`. Throws `release.tampered` where the file is not what was signed,
   * `release.downgraded` for a number that is not above those of its name, and what the shelf throws.
   */
  async add(release: SignedRelease, file: string): Promise<void> {
    const { kind, name, sequence, sha256, sizeBytes } = release.manifest;
    const what = `release ${sequence} of ${kind} ${name}`;
    const found = await this.#shelf.measure(file);
    if (found.sha256 !== sha256 || found.sizeBytes !== sizeBytes) {
      throw new FleetError('release.tampered', `${file} is not the content of ${what}`, {
        hint: `signed: ${sizeBytes} bytes, sha256 ${sha256}; found: ${found.sizeBytes} bytes, ${found.sha256}`,
      });
    }
    const newest = this.list().findLast(({ manifest }) => manifest.kind === kind && manifest.name === name);
    if (newest !== undefined && newest.manifest.sequence >= sequence) {
      throw new FleetError('release.downgraded', `${what} comes after ${newest.manifest.sequence}`, {
        hint: 'sign it with a greater number: devices take none that is lower than one they have taken',
      });
    }
    const path = await this.#shelf.keep(file, sha256);
    await this.#store.add({ release, path });
    this.#shelf.offer(sha256, path);
    this.#kept = [...this.#kept, { release, path }];
  }
}
