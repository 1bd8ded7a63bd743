import type { Expert, Variant } from '@fleetgate/shared/catalogue/expert';
import type { DeviceId, VariantId } from '@fleetgate/shared/ids';

import { VIRTUAL_MODELS } from '../model-target.js';
import type { ModelsSource } from './tokens.js';

const OWNER = 'fleetgate';
const ARCHITECTURE = { input_modalities: ['text'], output_modalities: ['text'] } as const;

/** One entry of GET /v1/models. */
export interface ModelBody {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
  readonly architecture: typeof ARCHITECTURE;
  /** llama.cpp's fields for a variant (`n_params`, `size`, `n_ctx_train`), and what Fleetgate knows besides. */
  readonly meta: Readonly<Record<string, unknown>>;
}

/** Every name that a request may ask for: virtual models, experts, variants. */
export function listModels(source: ModelsSource): readonly ModelBody[] {
  const { experts, variants } = source.catalogue();
  const placed = placedOn(source);
  const models = [...VIRTUAL_MODELS].map(([id, { title }]) => model(id, source.since, { kind: 'virtual', title }));
  const names = new Set(models.map(({ id }) => id));
  for (const expert of experts.values()) models.push(expertModel(expert, placed));
  for (const { id } of experts.values()) names.add(id);
  for (const variant of variants.values()) {
    const expert = experts.get(variant.expertId);
    if (!names.has(variant.id)) models.push(variantModel(variant, expert, placed.get(variant.id) ?? []));
  }
  return models;
}

function expertModel(expert: Expert, placed: ReadonlyMap<VariantId, readonly DeviceId[]>): ModelBody {
  const devices = new Set(expert.variants.flatMap(({ id }) => placed.get(id) ?? []));
  return model(expert.id, created(expert), {
    kind: 'expert',
    title: expert.title,
    description: expert.description,
    domains: expert.domains,
    licence: expert.licence.spdx,
    variants: expert.variants.map(({ id }) => id),
    placed_on: [...devices],
  });
}

function variantModel(variant: Variant, expert: Expert | undefined, devices: readonly DeviceId[]): ModelBody {
  return model(variant.id, expert === undefined ? 0 : created(expert), {
    kind: 'variant',
    expert: variant.expertId,
    quantisation: variant.quantisation,
    n_params: variant.facts.parameters,
    size: variant.sizeBytes,
    n_ctx_train: variant.facts.contextTokens,
    n_embd: variant.facts.embeddingLength,
    placed_on: devices,
  });
}

function model(id: string, at: number, meta: ModelBody['meta']): ModelBody {
  return { id, object: 'model', created: at, owned_by: OWNER, architecture: ARCHITECTURE, meta };
}

const created = (expert: Expert): number => Math.floor(expert.addedAtMs / 1000);

function placedOn({ policy }: ModelsSource): ReadonlyMap<VariantId, readonly DeviceId[]> {
  const devices = new Map<VariantId, DeviceId[]>();
  for (const [deviceId, variants] of policy()?.placements ?? []) {
    for (const id of variants) devices.set(id, [...(devices.get(id) ?? []), deviceId]);
  }
  return devices;
}
