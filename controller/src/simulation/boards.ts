/**
 * Boards of a simulated fleet. Decoding speeds are medians of public measurements of 4-bit models at one request at a time, as
 * tokens/s times 1e9 parameters (decoding is bound by reading the weights, so the product is about the same for all sizes).
 * `basis` says where each figure is from; what has no public figure says so.
 */
export interface SimulatedBoard extends SimulatedBody {
  /** Part of the fleet. */
  readonly share: number;
  /** Tokens/s while decoding and while reading the prompt, of a model of 1e9 parameters. */
  readonly decode: number;
  readonly prefill: number;
  readonly basis: string;
}

/** What a simulated device draws and holds. */
export interface SimulatedBody {
  readonly name: string;
  readonly memoryGiB: number;
  readonly slots: number;
  readonly idleW: number;
  readonly standbyW: number;
  readonly loadW: number;
  /** Round trip to the controller, ms. */
  readonly rttMs: number;
}

export const SIMULATED_BOARDS: readonly SimulatedBoard[] = [
  {
    name: 'jetson-agx-orin-64gb',
    share: 0.15,
    memoryGiB: 52,
    slots: 3,
    idleW: 11,
    standbyW: 7,
    loadW: 30.8,
    decode: 206,
    prefill: 3000,
    rttMs: 6,
    basis:
      'decode: NVIDIA-AI-IOT/jetson-ai-lab, 6 models of 3 to 71e9; load: microsoft/T-MAC, measured; prefill, idle: proxy',
  },
  {
    name: 'jetson-orin-nano-8gb-super',
    share: 0.3,
    memoryGiB: 6.2,
    slots: 2,
    idleW: 5.5,
    standbyW: 4,
    loadW: 14,
    decode: 138,
    prefill: 1000,
    rttMs: 8,
    basis: 'decode: NVIDIA-AI-IOT/jetson-ai-lab, 7 models; load: picocluster-claw.com, measured; prefill, idle: proxy',
  },
  {
    name: 'raspberry-pi-5-16gb',
    share: 0.2,
    memoryGiB: 13,
    slots: 2,
    idleW: 3.3,
    standbyW: 2.7,
    loadW: 11.9,
    decode: 17,
    prefill: 90,
    rttMs: 10,
    basis:
      'decode: geerlingguy/ai-benchmarks and SJTU-IPADS/PowerInfer; load: geerlingguy, measured at the wall; prefill: proxy',
  },
  {
    name: 'phone-snapdragon-8-elite',
    share: 0.2,
    memoryGiB: 9,
    slots: 1,
    idleW: 0.9,
    standbyW: 0.6,
    loadW: 7,
    decode: 90,
    prefill: 5000,
    rttMs: 30,
    basis: 'decode, prefill: quic/ai-hub-models, w4a16 on the NPU; power: no public figure, proxy',
  },
  {
    name: 'phone-snapdragon-8-gen-3',
    share: 0.15,
    memoryGiB: 9,
    slots: 1,
    idleW: 0.9,
    standbyW: 0.6,
    loadW: 6.5,
    decode: 63,
    prefill: 300,
    rttMs: 30,
    basis: 'decode, prefill: pytorch/executorch, 4-bit on the CPU; power: no public figure, proxy',
  },
];

/** Bits of a weight in a 4-bit file, and what runtime and context take besides, GiB. */
const BITS_PER_WEIGHT = 4.6;
const RUNTIME_GIB = 0.5;

/** GiB that a 4-bit model of so many 1e9 parameters takes while it is resident. */
export function memoryGiBOf(paramsB: number): number {
  return (paramsB * 1e9 * BITS_PER_WEIGHT) / 8 / 2 ** 30 + RUNTIME_GIB;
}

/** Parameters (1e9) that a model's name tells, `gemma-2-9b-it` or `Phi-3.5-mini-instruct`; undefined where it tells none. */
export function paramsOf(name: string): number | undefined {
  const known = KNOWN_PARAMS[name.toLowerCase()];
  if (known !== undefined) return known;
  const told = [...name.matchAll(/(?:^|[-_.])(\d+(?:\.\d+)?)(?:x(\d+))?b(?=$|[-_.])/gi)].at(-1);
  return told === undefined ? undefined : Number(told[1]) * Number(told[2] ?? 1);
}

const KNOWN_PARAMS: Readonly<Record<string, number>> = {
  'phi-3.5-mini-instruct': 3.82,
  'phi-3-mini-128k-instruct': 3.82,
};
