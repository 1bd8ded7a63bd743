/**
 * Boards, models and prompts that generated fleets are made of. Figures are round ones of public data sheets and of
 * llama.cpp runs: a benchmark needs their proportions, a real plan uses what was measured.
 */
import type { Random } from '@fleetgate/shared/random';

export interface FleetBoard {
  readonly name: string;
  /** Part of the fleet. */
  readonly share: number;
  readonly memGiB: number;
  readonly slots: number;
  readonly idleW: number;
  /** Above idle while busy. */
  readonly busyW: number;
  /** Weights read per second while decoding, GiB/s: about 60 % of the memory's data sheet. */
  readonly decodeGiBps: number;
  /** Prompt tokens per second of a model of 1e9 parameters. */
  readonly prefillTps: number;
  /** Round trip to the controller at a site nearby. */
  readonly rtt_s: number;
  /** Lower settings of clocks and cores: speed and power against full. The full one is always there. */
  readonly lowModes: readonly {
    readonly name: string;
    readonly speed: number;
    readonly busy: number;
    readonly idle: number;
  }[];
}

const JETSON_LOW = [{ name: 'low', speed: 0.62, busy: 0.45, idle: 0.85 }];

export const FLEET_BOARDS: readonly FleetBoard[] = [
  {
    name: 'agx64',
    share: 0.05,
    memGiB: 52,
    slots: 2,
    idleW: 11,
    busyW: 31,
    decodeGiBps: 115,
    prefillTps: 3000,
    rtt_s: 0.006,
    lowModes: JETSON_LOW,
  },
  {
    name: 'orinnx16',
    share: 0.12,
    memGiB: 12.5,
    slots: 2,
    idleW: 5.5,
    busyW: 14.5,
    decodeGiBps: 56,
    prefillTps: 1450,
    rtt_s: 0.006,
    lowModes: JETSON_LOW,
  },
  {
    name: 'orinnano8',
    share: 0.23,
    memGiB: 6.2,
    slots: 1,
    idleW: 4.2,
    busyW: 8.8,
    decodeGiBps: 39,
    prefillTps: 1000,
    rtt_s: 0.008,
    lowModes: JETSON_LOW,
  },
  {
    name: 'pi5',
    share: 0.25,
    memGiB: 6.8,
    slots: 1,
    idleW: 3.1,
    busyW: 6.4,
    decodeGiBps: 9,
    prefillTps: 220,
    rtt_s: 0.01,
    lowModes: [],
  },
  {
    name: 'pi4',
    share: 0.1,
    memGiB: 3.2,
    slots: 1,
    idleW: 2.7,
    busyW: 3.7,
    decodeGiBps: 3,
    prefillTps: 60,
    rtt_s: 0.01,
    lowModes: [],
  },
  {
    name: 'phone8',
    share: 0.15,
    memGiB: 6.5,
    slots: 1,
    idleW: 0.9,
    busyW: 6.6,
    decodeGiBps: 36,
    prefillTps: 800,
    rtt_s: 0.03,
    lowModes: [],
  },
  {
    name: 'phone6',
    share: 0.1,
    memGiB: 3.6,
    slots: 1,
    idleW: 0.7,
    busyW: 4.3,
    decodeGiBps: 17,
    prefillTps: 380,
    rtt_s: 0.035,
    lowModes: [],
  },
];

/** Further from the controller, by site. */
export const SITE_RTT_S: readonly number[] = [0, 0.01, 0.03];

export interface FleetVariant {
  readonly id: string;
  /** 1e9 parameters that are left after pruning. */
  readonly parameters: number;
  readonly weightsGiB: number;
  readonly memGiB: number;
  /** Parameters that this is as good as, 1e9: less than it has when it is quantised or pruned. */
  readonly worth: number;
}

const SIZES = [0.5, 1, 1.5, 3, 4, 7, 8, 14];
const QUANTISATIONS = [
  { name: 'q3', bits: 3.7, keeps: 0.8 },
  { name: 'q4', bits: 4.6, keeps: 0.92 },
  { name: 'q8', bits: 8.5, keeps: 0.99 },
  { name: 'f16', bits: 16, keeps: 1 },
] as const;
const PRUNINGS = [0, 0.25, 0.5];

/** `count` builds (at most 96) of models of 0.5 to 14 billion parameters: quantised, pruned, in random order. */
export function fleetVariants(random: Random, count: number): readonly FleetVariant[] {
  const all = SIZES.flatMap((size) =>
    QUANTISATIONS.flatMap(({ name, bits, keeps }) =>
      PRUNINGS.map((pruned): FleetVariant => {
        const weightsGiB = (size * (1 - pruned) * bits * 1e9) / 8 / 2 ** 30;
        return {
          id: `m${size}b-${name}-p${100 * pruned}`,
          parameters: size * (1 - pruned),
          weightsGiB,
          // Runtime and a context of some thousand tokens.
          memGiB: rounded(weightsGiB + 0.35 + 0.05 * size),
          worth: size * keeps * (1 - 0.6 * pruned),
        };
      }),
    ),
  );
  return shuffled(random, all).slice(0, count);
}

/** Service time of a request without queueing, s. */
export function serviceTime(
  board: FleetBoard,
  variant: Pick<FleetVariant, 'parameters' | 'weightsGiB'>,
  inTokens: number,
  outTokens: number,
): number {
  const prefill = (inTokens * variant.parameters) / board.prefillTps;
  return prefill + (outTokens * variant.weightsGiB) / board.decodeGiBps;
}

/** Four decimals: files stay small, and no figure is known better. */
export const rounded = (value: number): number => Math.round(value * 1e4) / 1e4;

function shuffled<T>(random: Random, list: readonly T[]): readonly T[] {
  return list
    .map((each) => ({ each, at: random.uniform() }))
    .sort((a, b) => a.at - b.at)
    .map(({ each }) => each);
}
