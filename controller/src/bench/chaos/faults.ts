import type { Random } from '@fleetgate/shared/random';

/** What may befall a fleet. `kill` is SIGKILL, `freeze` SIGSTOP, `cut` a network that loses everything, clocks jump an hour. */
export const FAULT_KINDS = [
  'kill-controller',
  'kill-broker',
  'kill-agent',
  'kill-engine',
  'freeze-controller',
  'freeze-broker',
  'freeze-agent',
  'cut-agent',
  'fill-disk',
  'clock-forward',
  'clock-back',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** How long each lasts, from and to, ms. A killed process stays away that long; a killed engine or broker is started by its parent. */
const LASTS: Readonly<Record<FaultKind, readonly [number, number]>> = {
  'kill-controller': [100, 3_000],
  'kill-broker': [0, 0],
  'kill-agent': [100, 5_000],
  'kill-engine': [0, 0],
  'freeze-controller': [500, 8_000],
  'freeze-broker': [500, 8_000],
  'freeze-agent': [1_000, 20_000],
  'cut-agent': [1_000, 20_000],
  'fill-disk': [2_000, 8_000],
  'clock-forward': [3_000, 8_000],
  'clock-back': [3_000, 8_000],
};
/** The load runs for a while before. */
const BEGINS_AFTER_MS = [1_000, 4_000] as const;

export interface ChaosFault {
  readonly kind: FaultKind;
  /** Whom it befalls, where that is a matter of choice. */
  readonly victim: string;
  /** Since the beginning of its round, ms. */
  readonly beginsAfterMs: number;
  readonly lastsMs: number;
}

export interface Victims {
  /** Names of agents. */
  readonly devices: readonly string[];
  /** Those whose network can be cut. */
  readonly cuttable: readonly string[];
}

/** One fault a round. All of `kinds` come before one comes again, in an order of `random`'s. */
export function drawFaults(
  random: Random,
  rounds: number,
  kinds: readonly FaultKind[],
  victims: Victims,
): readonly ChaosFault[] {
  const faults: ChaosFault[] = [];
  while (faults.length < rounds && kinds.length > 0) {
    for (const kind of shuffled(random, kinds).slice(0, rounds - faults.length)) {
      faults.push({
        kind,
        victim: victimOf(kind, random, victims),
        beginsAfterMs: between(random, BEGINS_AFTER_MS),
        lastsMs: between(random, LASTS[kind]),
      });
    }
  }
  return faults;
}

function victimOf(kind: FaultKind, random: Random, { devices, cuttable }: Victims): string {
  switch (kind) {
    case 'kill-controller':
    case 'kill-broker':
    case 'freeze-controller':
    case 'freeze-broker':
    case 'fill-disk':
      return 'controller';
    case 'kill-agent':
    case 'kill-engine':
    case 'freeze-agent':
      return drawn(random, devices);
    case 'cut-agent':
      return drawn(random, cuttable);
    case 'clock-forward':
    case 'clock-back':
      return drawn(random, ['controller', ...devices]);
  }
}

function drawn(random: Random, names: readonly string[]): string {
  return names[Math.floor(random.uniform() * names.length)] ?? '';
}

function between(random: Random, [from, to]: readonly [number, number]): number {
  return Math.round(from + random.uniform() * (to - from));
}

/** Fisher and Yates. */
function shuffled<T>(random: Random, items: readonly T[]): readonly T[] {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = Math.floor(random.uniform() * (at + 1));
    [order[at], order[other]] = [order[other] as T, order[at] as T];
  }
  return order;
}
