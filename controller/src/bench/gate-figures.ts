/** Figures of the gate benchmark from what was measured. Pure. */
import { type BenchFigure, figure } from './bench-report.js';
import { bitsPerByte } from './bits-per-byte.js';

export interface GateSample {
  readonly domain: string;
  /** Expert that the fleet chose. */
  readonly chosen: string;
  /** Bits of the reference answer under each expert that could be asked. */
  readonly bits: Readonly<Record<string, number>>;
  readonly bytes: number;
}

export interface GateFigures {
  /** Domain -> expert -> prompts. */
  readonly confusion: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Bits per byte (sum of bits over sum of bytes of a domain), averaged over domains; lower is better. */
  readonly chosen: number;
  readonly oracle: number;
  readonly byExpert: Readonly<Record<string, number>>;
  readonly bestSingle: string;
  /** Bits per byte by domain: of the choice, and of each expert. */
  readonly byDomain: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly figures: readonly BenchFigure[];
}

const GENERALIST = 'generalist';
export const CHOICE = "fleet's choice";
export const ORACLE = 'oracle';

/** Compares over the prompts that every expert of `experts` has scored; experts that the fleet does not serve are out. */
export function gateFigures(samples: readonly GateSample[], experts: readonly string[]): GateFigures {
  const complete = samples.filter((sample) => [...experts, sample.chosen].every((expert) => expert in sample.bits));
  const under = (bitsOf: (sample: GateSample) => number) =>
    bitsPerByte(complete.map((sample) => ({ domain: sample.domain, bytes: sample.bytes, bits: bitsOf(sample) })));
  const choice = under((sample) => sample.bits[sample.chosen] ?? NaN);
  const oracle = under((sample) => Math.min(...Object.values(sample.bits)));
  const singles = experts.map((expert) => [expert, under((sample) => sample.bits[expert] ?? NaN)] as const);
  const bestSingle = singles.reduce<(typeof singles)[number] | undefined>(
    (best, one) => (best === undefined || one[1].mean < best[1].mean ? one : best),
    undefined,
  );
  const generalist = singles.find(([expert]) => expert === GENERALIST)?.[1].mean;
  const tables = [[CHOICE, choice] as const, ...singles, [ORACLE, oracle] as const];
  const own = samples.filter((sample) => sample.chosen === sample.domain).length;
  return {
    confusion: confusionOf(samples),
    chosen: choice.mean,
    oracle: oracle.mean,
    byExpert: Object.fromEntries(singles.map(([expert, { mean }]) => [expert, mean])),
    bestSingle: bestSingle?.[0] ?? '',
    byDomain: Object.fromEntries(
      tables.map(([name, { byDomain, mean }]) => [name, { ...Object.fromEntries(byDomain), mean }]),
    ),
    figures: [
      figure('prompts answered by the expert of their domain', 'share', own / Math.max(1, samples.length)),
      figure("mean bits per byte of the fleet's choice", 'bit/byte', choice.mean, {
        name: 'best-expert oracle',
        value: oracle.mean,
      }),
      ...(generalist === undefined
        ? []
        : [
            figure("mean bits per byte of the fleet's choice", 'bit/byte', choice.mean, {
              name: GENERALIST,
              value: generalist,
            }),
            figure(
              "oracle's gain over the generalist captured",
              'share',
              captured(generalist, choice.mean, oracle.mean),
            ),
          ]),
      ...(bestSingle === undefined
        ? []
        : [
            figure("mean bits per byte of the fleet's choice", 'bit/byte', choice.mean, {
              name: `best single expert (${bestSingle[0]})`,
              value: bestSingle[1].mean,
            }),
            figure(
              "oracle's gain over the best single expert captured",
              'share',
              captured(bestSingle[1].mean, choice.mean, oracle.mean),
            ),
          ]),
    ],
  };
}

function captured(from: number, reached: number, best: number): number {
  return from - best > 1e-9 ? (from - reached) / (from - best) : NaN;
}

function confusionOf(samples: readonly GateSample[]): Record<string, Record<string, number>> {
  const confusion: Record<string, Record<string, number>> = {};
  for (const { domain, chosen } of samples) {
    const row = (confusion[domain] ??= {});
    row[chosen] = (row[chosen] ?? 0) + 1;
  }
  return confusion;
}
