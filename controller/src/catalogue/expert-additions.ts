import type { ExpertAdditionView } from '@fleetgate/shared/api/operations';
import type { Expert, ModelFacts } from '@fleetgate/shared/catalogue/expert';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import { type ExpertId, expertIdSchema, variantIdSchema } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';

import type { ArtefactSource, RemoteArtefact } from './artefact-source.js';
import type { ExpertRegistry } from './expert-registry.js';
import type { ExpertStore } from './expert-store.js';
import { expertNameOf, parseSource, type SourceReference } from './source-reference.js';

export interface ExpertRequest {
  readonly source: string;
  readonly name?: string | undefined;
  readonly domains?: readonly string[] | undefined;
}

/** What is read from a model file before it is taken in. */
export interface InspectedFile {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly facts: ModelFacts;
  /** `general.license` of the file. */
  readonly licence: string | undefined;
}

/** Model files on this machine. */
export interface ArtefactShelf {
  /** Throws `gguf.malformed`, `gguf.unsupported` or `artefact.unavailable`. */
  inspect(path: string): Promise<InspectedFile>;
  /** Throws `gguf.unsupported` for what is no adapter of the model in `basePath`, or as `inspect` does. */
  inspectAdapter(path: string, basePath: string): Promise<Pick<InspectedFile, 'sha256' | 'sizeBytes'>>;
  partOf(url: string): string;
  keepPart(part: string, sha256: string): Promise<string>;
  keepFile(file: string, sha256: string): Promise<string>;
}

export interface AdditionParts {
  readonly registry: ExpertRegistry;
  readonly store: ExpertStore;
  readonly source: ArtefactSource;
  readonly shelf: ArtefactShelf;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called with every expert that was added, before it is shown as ready. */
  readonly onAdded?: (expert: Expert) => Promise<void>;
}

/** Downloads at once; more only share the line. */
const MOST_AT_ONCE = 2;
/** Ended additions that are still shown. */
const MOST_SHOWN = 100;

/**
 * Adds experts from elsewhere: fetch, check, read the facts, register. One at a time per name; what fails is shown with
 * its reason and leaves nothing in the catalogue.
 */
export class ExpertAdditions {
  readonly #parts: AdditionParts;
  readonly #views = new Map<ExpertId, ExpertAdditionView>();
  readonly #running = new Map<ExpertId, AbortController>();
  readonly #work = new Set<Promise<void>>();

  constructor(parts: AdditionParts) {
    this.#parts = parts;
  }

  /** How an addition stands, also after it ended; undefined when there was none of that name. */
  view(id: string): ExpertAdditionView | undefined {
    const name = expertIdSchema.safeParse(id);
    return name.success ? this.#views.get(name.data) : undefined;
  }

  /**
   * Starts to add an expert and gives how it stands. A file on this machine is added before this resolves; a download
   * goes on, see `view`. Throws `request.invalid`, `expert.exists`, and for files whatever is wrong with them.
   */
  async add(request: ExpertRequest): Promise<ExpertAdditionView> {
    const reference = parseSource(request.source);
    if (reference.kind === 'file') return this.#addFile(request, reference.path);
    const id = nameFor(request, guessedFileName(reference));
    this.#parts.registry.checkFree(id);
    if (this.#running.has(id)) return this.#views.get(id) ?? this.#show(id, request, { state: 'resolving' });
    if (this.#running.size >= MOST_AT_ONCE) {
      throw new FleetError('job.queue-full', `${this.#running.size} experts are being fetched already`, {
        hint: 'wait until one is there',
        retryable: true,
      });
    }
    const abort = new AbortController();
    this.#running.set(id, abort);
    const view = this.#show(id, request, { state: 'resolving' });
    const work = this.#addRemote(id, request, reference, abort.signal).finally(() => {
      this.#running.delete(id);
      this.#work.delete(work);
    });
    this.#work.add(work);
    return view;
  }

  /** Ends downloads under way; they go on where they ended when they are asked for again. */
  async close(): Promise<void> {
    for (const abort of this.#running.values()) abort.abort(new Error('the controller is stopping'));
    await Promise.all(this.#work);
  }

  async #addFile(request: ExpertRequest, path: string): Promise<ExpertAdditionView> {
    const fileName = path.split('/').at(-1) ?? path;
    const id = nameFor(request, fileName);
    this.#parts.registry.checkFree(id);
    const file = await this.#parts.shelf.inspect(path);
    const remote: RemoteArtefact = {
      url: path,
      fileName,
      sizeBytes: file.sizeBytes,
      sha256: undefined,
      licence: undefined,
      page: fileName,
    };
    const expert = this.#expertOf(id, request, remote, file);
    await this.#register(expert, await this.#parts.shelf.keepFile(path, file.sha256));
    return this.#show(id, request, { state: 'ready', expert });
  }

  async #addRemote(
    id: ExpertId,
    request: ExpertRequest,
    reference: Exclude<SourceReference, { readonly kind: 'file' }>,
    signal: AbortSignal,
  ): Promise<void> {
    const { source, shelf, log } = this.#parts;
    try {
      const remote = await source.resolve(reference, signal);
      const part = shelf.partOf(remote.url);
      log.info('expert.fetching', { expertId: id, url: remote.url, sizeBytes: remote.sizeBytes });
      await source.fetch(
        remote,
        part,
        (doneBytes, totalBytes) =>
          this.#show(id, request, { state: 'fetching', doneBytes, totalBytes: totalBytes ?? null }, remote.licence),
        signal,
      );
      this.#show(id, request, { state: 'checking' }, remote.licence);
      const file = await shelf.inspect(part);
      const expert = this.#expertOf(id, request, remote, file);
      await this.#register(expert, await shelf.keepPart(part, file.sha256));
      this.#show(id, request, { state: 'ready', expert }, expert.licence.spdx);
    } catch (error) {
      log.warn('expert.not-added', { expertId: id, reason: messageOf(error) });
      const code = isFleetError(error) ? error.code : 'internal.invariant';
      const hint = isFleetError(error) ? error.hint : undefined;
      const told = { code, message: messageOf(error), ...(hint === undefined ? {} : { hint }) };
      this.#show(id, request, { state: 'failed', error: told });
    }
  }

  #expertOf(id: ExpertId, request: ExpertRequest, remote: RemoteArtefact, file: InspectedFile): Expert {
    const taken = this.#parts.registry.variantOf(file.sha256);
    if (taken !== undefined) {
      throw new FleetError('expert.exists', `${remote.fileName} is the file of ${taken.id} already`, {
        hint: `use ${taken.expertId}, which is there`,
      });
    }
    const { facts, sha256, sizeBytes } = file;
    const variantId = variantIdSchema.parse(`${id}-${facts.quantisation.toLowerCase()}`.slice(0, 63));
    const licence = remote.licence ?? file.licence ?? 'NOASSERTION';
    return {
      id,
      title: facts.name ?? id,
      description: `Added from ${remote.page}.`,
      domains: [...(request.domains ?? [])],
      licence: { spdx: licence },
      origin: [{ what: remote.fileName, source: remote.page, licence }],
      stop: [],
      bitsPerByte: {},
      variants: [{ id: variantId, expertId: id, sha256, sizeBytes, quantisation: facts.quantisation, facts }],
      addedAtMs: this.#parts.clock.now(),
    };
  }

  async #register(expert: Expert, path: string): Promise<void> {
    const paths = new Map(expert.variants.map((variant) => [variant.id, path]));
    this.#parts.registry.checkFree(expert.id);
    await this.#parts.store.keep({ expert, paths });
    this.#parts.registry.add({ expert, paths });
    await this.#parts.onAdded?.(expert);
    this.#parts.log.info('expert.added', { expertId: expert.id, sizeBytes: expert.variants[0]?.sizeBytes });
  }

  #show(
    id: ExpertId,
    request: ExpertRequest,
    progress: ExpertAdditionView['progress'],
    licence?: string,
  ): ExpertAdditionView {
    const view: ExpertAdditionView = { id, source: request.source, licence: licence ?? null, progress };
    this.#views.delete(id);
    this.#views.set(id, view);
    for (const old of this.#views.keys()) {
      if (this.#views.size <= MOST_SHOWN) break;
      if (!this.#running.has(old)) this.#views.delete(old);
    }
    return view;
  }
}

function guessedFileName(reference: Exclude<SourceReference, { readonly kind: 'file' }>): string {
  return reference.kind === 'url' ? reference.fileName : (reference.repo.split('/').at(-1) ?? reference.repo);
}

function nameFor(request: ExpertRequest, fileName: string): ExpertId {
  const name = request.name ?? expertNameOf(fileName).replace(/-gguf$/, '');
  const id = expertIdSchema.safeParse(name);
  if (id.success) return id.data;
  throw new FleetError(
    'request.invalid',
    `name: ${id.error.issues[0]?.message ?? 'invalid'}, got ${JSON.stringify(name)}`,
    {
      hint: 'give the expert a name with --name',
      context: { param: 'name' },
    },
  );
}
