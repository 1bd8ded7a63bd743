import { expertSchema, type Expert, type Variant } from '@fleetgate/shared/catalogue/expert';
import { classId, deviceId, expertId, variantId } from '@fleetgate/shared/ids';
import type { Measurement } from '@fleetgate/shared/protocol/twin';
import { joules, milliseconds } from '@fleetgate/shared/units/quantity';

import type { Catalogue } from '../catalogue/catalogue.js';
import { aDevice, aReported } from '../fleet/device.fixture.js';
import type { Device } from '../fleet/device.js';
import type { Gate } from '../gating/gate.js';
import type { CostEstimator } from '../telemetry/cost.js';

const GIB = 2 ** 30;

/** One variant `<name>-q8` per expert. */
export function aCatalogue(names: readonly string[], memoryBytes = GIB): Catalogue {
  const experts = new Map<Expert['id'], Expert>();
  const variants = new Map<Variant['id'], Variant>();
  for (const name of names) {
    const sha256 = Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64);
    const expert = expertSchema.parse({
      id: name,
      title: name,
      description: name,
      domains: [name],
      licence: { spdx: 'Apache-2.0' },
      origin: [],
      stop: [],
      bitsPerByte: {},
      addedAtMs: 0,
      variants: [
        {
          id: `${name}-q8`,
          expertId: name,
          sha256,
          sizeBytes: 1000,
          quantisation: 'Q8_0',
          facts: {
            architecture: 'llama',
            parameters: 1000,
            contextTokens: 512,
            layers: 1,
            embeddingLength: 8,
            slabsPerLayer: 0,
            slabsPerToken: 0,
            hasChatTemplate: true,
            quantisation: 'Q8_0',
            fileBytes: 1000,
            memoryBytes,
          },
        },
      ],
    });
    experts.set(expert.id, expert);
    for (const variant of expert.variants) variants.set(variant.id, variant);
  }
  return { experts, variants };
}

/** A measurement of a variant of `aCatalogue`. */
export function aMeasurement(catalogue: Catalogue, variant: string): Measurement {
  const sha256 = catalogue.variants.get(variantId(variant))?.sha256 ?? '';
  return {
    variantId: variantId(variant),
    sha256,
    prefillTokensPerS: 1000,
    decodeTokensPerS: 100,
    relativeSd: 0.01,
    prefillJPerToken: 0.01,
    decodeJPerToken: 0.05,
    energySource: 'modelled',
    overheadMs: 5,
    loadMs: 100,
    memoryBytes: GIB,
    measuredAtMs: 0,
  };
}

/** An online device that has measured everything. */
export function aMeasuredDevice(id: string, catalogue: Catalogue, parts: Partial<Device> = {}): Device {
  const measurements = [...catalogue.variants.keys()].map((variant) => aMeasurement(catalogue, variant));
  return aDevice({ id: deviceId(id), reported: aReported({ slots: 2, measurements }), ...parts });
}

/** Classes are named like experts; an expert is good (0.8) at its own class and poor (0.3) at the others. */
export function aGate(names: readonly string[], classes: readonly string[] = names): Gate {
  return {
    experts: names.map(expertId),
    classes: classes.map(classId),
    trainedOn: 100,
    score: () => {
      throw new Error('planning scores no prompts');
    },
    classQuality: (of, expert) => ({ quality: String(of) === String(expert) ? 0.8 : 0.3, sd: 0.1, outputTokens: 32 }),
  };
}

/** The same cost for everything, unless told otherwise by `device/variant`. */
export class FixedCosts implements CostEstimator {
  readonly latencyMs = new Map<string, number>();
  readonly energyJ = new Map<string, number>();

  estimate: CostEstimator['estimate'] = (device, variant) => ({
    latency: milliseconds(this.latencyMs.get(`${device}/${variant}`) ?? 500),
    latencySd: milliseconds(50),
    firstToken: milliseconds(50),
    energy: joules(this.energyJ.get(`${device}/${variant}`) ?? 4),
    energySd: joules(0.4),
    basis: 'measured',
  });
  observeMeasurement(): void {}
  observeJob(): void {}
}
