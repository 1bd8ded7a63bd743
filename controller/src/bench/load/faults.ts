import type { Random } from '@fleetgate/shared/random';

/** Longest absence of a killed agent, and longest silence of a frozen one: over the dispatcher's stall time-out of 30 s. */
const LONGEST_AWAY_MS = 10_000;
const LONGEST_FREEZE_MS = 40_000;

/** What happens to one of the agents within a phase. */
export interface Fault {
  readonly kind: 'kill' | 'freeze';
  /** Since the start of the phase, ms. */
  readonly atMs: number;
  readonly forMs: number;
  /** 0..1: which of the devices that serve at that time. */
  readonly draw: number;
}

/** One kill in the first third of a phase and one freeze that ends before it does, at times that `random` says. */
export function drawFaults(random: Random, durationMs: number): readonly Fault[] {
  const between = (from: number, to: number): number => durationMs * (from + random.uniform() * (to - from));
  return [
    {
      kind: 'kill',
      atMs: between(0.1, 0.25),
      forMs: Math.min(LONGEST_AWAY_MS, durationMs / 10),
      draw: random.uniform(),
    },
    {
      kind: 'freeze',
      atMs: between(0.5, 0.6),
      forMs: Math.min(LONGEST_FREEZE_MS, durationMs / 3),
      draw: random.uniform(),
    },
  ];
}

/** Whom a fault befalls: one of `serving`, but `spared` only where there is no other; undefined for none. */
export function victimOf(fault: Fault, serving: readonly string[], spared: string | undefined): string | undefined {
  const others = serving.filter((name) => name !== spared);
  const from = others.length > 0 ? others : serving;
  return from[Math.floor(fault.draw * from.length)];
}
