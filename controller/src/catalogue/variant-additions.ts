import { type Expert, madeSchema, type Variant } from '@fleetgate/shared/catalogue/expert';
import { type ServedAdapter, servingSchema } from '@fleetgate/shared/catalogue/serving';
import { FleetError } from '@fleetgate/shared/errors';
import { expertIdSchema, variantIdSchema } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { z } from 'zod';

import type { ArtefactShelf } from './expert-additions.js';
import type { ExpertRegistry } from './expert-registry.js';
import type { ExpertStore } from './expert-store.js';
import { makeVariant, offloadedVariants, type VariantPlan } from './make-variant.js';

export const variantRequestSchema = z.strictObject({
  name: z.string(),
  how: madeSchema.shape.how,
  /** Default: the expert's first variant. */
  from: z.string().optional(),
  /** A GGUF file on the controller's machine. Default: the file of `from`. */
  source: z.string().min(1).max(2000).optional(),
  serving: servingSchema.omit({ adapters: true }).strict().optional(),
  /** A LoRA adapter, laid over the variant's file: a GGUF file on the controller's machine. */
  adapter: z.strictObject({ source: z.string().min(1).max(2000), scale: z.number().default(1) }).optional(),
  loss: madeSchema.shape.loss.optional(),
  lossAtSlabs: madeSchema.shape.lossAtSlabs,
  decodeJPerToken: madeSchema.shape.decodeJPerToken,
});
export type VariantRequest = z.input<typeof variantRequestSchema>;

export interface VariantAdditionParts {
  readonly registry: ExpertRegistry;
  readonly store: ExpertStore;
  readonly shelf: ArtefactShelf;
  readonly log: Logger;
}

/** Adds variants to experts, and takes those that were added away again. */
export class VariantAdditions {
  readonly #parts: VariantAdditionParts;

  constructor(parts: VariantAdditionParts) {
    this.#parts = parts;
  }

  /** Throws `model.unknown`, `expert.exists`, `request.invalid`, and for files whatever is wrong with them. */
  async add(expert: string, request: VariantRequest): Promise<Variant> {
    const { registry, shelf } = this.#parts;
    const from = this.#source(expert, request.from);
    const id = variantIdSchema.safeParse(request.name);
    if (!id.success) throw new FleetError('request.invalid', `name: ${id.error.issues[0]?.message ?? 'invalid'}`);
    registry.checkVariantFree(id.data);
    const { source, how, serving, loss = {}, lossAtSlabs, decodeJPerToken } = request;
    const file = source === undefined ? undefined : await shelf.inspect(source);
    const adapters = await this.#inspectAdapters(request, source ?? registry.pathOf(from.sha256) ?? '');
    const plan = { id: id.data, how, file, serving, adapters, loss, lossAtSlabs, decodeJPerToken };
    const variant = makeVariant(from, plan);
    const path =
      source === undefined || file === undefined
        ? registry.pathOf(from.sha256)
        : (registry.pathOf(file.sha256) ?? (await shelf.keepFile(source, file.sha256)));
    await this.#keepAdapters(request, adapters);
    return this.#keep(variant, path);
  }

  async #inspectAdapters({ adapter }: VariantRequest, base: string): Promise<readonly ServedAdapter[] | undefined> {
    if (adapter === undefined) return undefined;
    const { sha256, sizeBytes } = await this.#parts.shelf.inspectAdapter(adapter.source, base);
    return [{ sha256, sizeBytes, scale: adapter.scale ?? 1 }];
  }

  async #keepAdapters({ adapter }: VariantRequest, found: readonly ServedAdapter[] = []): Promise<void> {
    const { registry, shelf } = this.#parts;
    for (const { sha256 } of found) {
      if (adapter === undefined || registry.pathOf(sha256) !== undefined) continue;
      registry.addArtefact(sha256, await shelf.keepFile(adapter.source, sha256));
    }
  }

  /** The ways to serve a large mixture that was just added on devices too small for it. */
  async offerOffloaded(expert: Expert): Promise<void> {
    for (const whole of expert.variants) {
      for (const plan of offloadedVariants(whole)) await this.#offer(whole, plan);
    }
  }

  /** Takes an added variant out of the catalogue; its file stays while another variant is of it. Throws `model.unknown`. */
  async remove(id: string): Promise<void> {
    const { registry, store, log } = this.#parts;
    const name = variantIdSchema.safeParse(id);
    const variant = name.success ? registry.variants.get(name.data) : undefined;
    if (variant?.made === undefined) {
      throw new FleetError('model.unknown', `no variant ${JSON.stringify(id)} was added`, {
        hint: 'only variants made of others can be taken away; `fleetgate experts` lists all',
      });
    }
    await store.dropMade(variant.id);
    registry.removeVariant(variant.id);
    log.info('variant.removed', { variantId: variant.id });
  }

  #source(expert: string, from: string | undefined): Variant {
    const id = expertIdSchema.safeParse(expert);
    const found: Expert | undefined = id.success ? this.#parts.registry.experts.get(id.data) : undefined;
    if (found === undefined) {
      throw new FleetError('model.unknown', `there is no expert named ${JSON.stringify(expert)}`, {
        hint: '`fleetgate experts` lists all',
      });
    }
    const variant = from === undefined ? found.variants[0] : found.variants.find((one) => one.id === from);
    if (variant !== undefined) return variant;
    throw new FleetError('model.unknown', `expert ${found.id} has no variant ${JSON.stringify(from)}`, {
      hint: `expected one of ${found.variants.map((one) => one.id).join(', ')}`,
    });
  }

  async #offer(whole: Variant, plan: VariantPlan): Promise<void> {
    if (this.#parts.registry.variants.has(plan.id)) return;
    await this.#keep(makeVariant(whole, plan), this.#parts.registry.pathOf(whole.sha256));
  }

  async #keep(variant: Variant, path: string | undefined): Promise<Variant> {
    const { registry, store, log } = this.#parts;
    if (path === undefined) {
      throw new FleetError('artefact.unavailable', `the file of ${variant.made?.from ?? variant.id} is gone`);
    }
    registry.checkVariantFree(variant.id);
    await store.keepMade({ variant, path });
    registry.addVariant({ variant, path });
    const { id, expertId, facts } = variant;
    log.info('variant.added', {
      variantId: id,
      expertId,
      memoryBytes: facts.memoryBytes,
      how: variant.made?.how ?? '',
    });
    return variant;
  }
}
