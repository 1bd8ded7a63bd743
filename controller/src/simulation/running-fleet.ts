/** A running fleet as a simulated one: its devices by what they have measured, its experts, and its log as arrivals. Pure. */
import type { DeviceView, RequestView } from '@fleetgate/shared/api/operations';
import type { Expert } from '@fleetgate/shared/catalogue/expert';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { TrueSpeed } from './simulated-device.js';
import type { DeviceSpec } from './simulated-fleet.js';
import type { Arrival } from './trace.js';

const GIB = 2 ** 30;
/** Round trip of a local network, ms. */
const RTT_MS = 10;
/** Of idling, where a device does not say what it draws in standby. */
const STANDBY_SHARE = 0.8;
const CHARS_PER_TOKEN = 4;
/** Answers whose length is not known. */
const UNKNOWN_OUTPUT_TOKENS = 64;

export function catalogueFrom(experts: readonly Expert[]): Catalogue {
  return {
    experts: new Map(experts.map((expert) => [expert.id, expert])),
    variants: new Map(experts.flatMap(({ variants }) => variants.map((variant) => [variant.id, variant] as const))),
  };
}

/** Devices that are online and have measured something, as fast as they measured. */
export function specsFrom(devices: readonly DeviceView[], { variants }: Catalogue): readonly DeviceSpec[] {
  return devices.flatMap(({ id, measurements, memory, power, slots, state }): readonly DeviceSpec[] => {
    if (state !== 'online' || memory === null || power === null || measurements.length === 0) return [];
    const speeds = new Map(
      measurements.map(
        ({ decodeTokensPerS, memoryBytes, prefillTokensPerS, variantId }): [typeof variantId, TrueSpeed] => {
          const sizeBytes = variants.get(variantId)?.sizeBytes ?? memoryBytes;
          return [variantId, { prefillTokensPerS, decodeTokensPerS, memoryBytes, sizeBytes }];
        },
      ),
    );
    const board = {
      name: id,
      memoryGiB: memory.budgetBytes / GIB,
      slots: slots ?? 1,
      idleW: power.idleW,
      standbyW: STANDBY_SHARE * power.idleW,
      loadW: power.loadW,
      rttMs: RTT_MS,
    };
    return [{ id, board, speeds, measurements }];
  });
}

/** Requests of a log in the order they came, whatever became of them; calls of joint answers are left to those. */
export function arrivalsFrom(records: readonly RequestView[]): readonly Arrival[] {
  const asked = records
    .filter(({ callOf, endpoint }) => callOf === undefined && /completions|responses|messages/.test(endpoint))
    .toSorted((a, b) => a.receivedAtMs - b.receivedAtMs);
  const first = asked[0]?.receivedAtMs ?? 0;
  const lengths = asked.flatMap(({ actual }) => (actual === null ? [] : [actual.outputTokens]));
  const mean =
    lengths.length === 0 ? UNKNOWN_OUTPUT_TOKENS : lengths.reduce((sum, tokens) => sum + tokens, 0) / lengths.length;
  return asked.map(({ actual, classId, model, promptChars, receivedAtMs }) => ({
    atMs: receivedAtMs - first,
    promptTokens: Math.max(1, actual?.promptTokens ?? Math.ceil(promptChars / CHARS_PER_TOKEN)),
    outputTokens: Math.max(1, Math.round(actual?.outputTokens ?? mean)),
    ...(classId === null ? {} : { classId }),
    model,
  }));
}
