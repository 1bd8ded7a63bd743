import type { ClassId, ExpertId } from '@fleetgate/shared/ids';
import { elapsed, type UnixMs } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

/**
 * Where an observation comes from: a reference answer that the expert was scored on, a client's rating, other experts
 * that gave the same answer, or the mean probability that the expert gave its own tokens.
 */
export const EVIDENCE_SOURCES = ['reference', 'feedback', 'agreement', 'logprob'] as const;
export type EvidenceSource = (typeof EVIDENCE_SOURCES)[number];

/** One expert on one prompt. Never holds a text: neither the prompt's nor the answer's. */
export const evidenceSchema = z.object({
  id: z.string().min(1).max(240),
  /** The request, or the labelled prompt, that was observed. */
  subject: z.string().min(1).max(120),
  at: z.number().transform((value) => value as UnixMs),
  source: z.enum(EVIDENCE_SOURCES),
  expert: z.string().transform((value) => value as ExpertId),
  classId: z.string().transform((value) => value as ClassId),
  embedding: z.array(z.number()).max(256).optional(),
  /** What was observed, 0..1, on the source's own scale. */
  value: z.number().min(0).max(1),
  /** What the trained gate had said of this expert and this prompt, and its error bar. */
  predicted: z.number().min(0).max(1),
  sd: z.number().nonnegative(),
  /** Of its error bar, what was doubt about the expert and no spread of single prompts (`ExpertScore.doubt`). */
  doubt: z.number().nonnegative().optional(),
  /** Which trained gate that was (`gate-fingerprint.ts`): another's classes and embeddings mean something else. */
  gate: z.string(),
});
export type Evidence = Readonly<z.infer<typeof evidenceSchema>>;

/** Observations of each source that are learned from, the newest: a busy source must not push out a rare one. */
export const SOURCE_WINDOW = 1000;
/**
 * What makes room for one more observation of a source: the oldest of the expert that is heard most. What is known of an expert
 * that answers seldom is what the others are measured against. Undefined while there is room.
 */
export function outOfWindow(evidence: readonly Evidence[], source: EvidenceSource): Evidence | undefined {
  const own = evidence.filter((one) => one.source === source);
  if (own.length < SOURCE_WINDOW) return undefined;
  const heard = new Map<ExpertId, number>();
  for (const { expert } of own) heard.set(expert, (heard.get(expert) ?? 0) + 1);
  const most = Math.max(...heard.values());
  return own.find(({ expert }) => heard.get(expert) === most);
}

/** An observation counts half as much after this long. */
const HALF_LIFE_MS = 30 * 86_400_000;
/** Every fifth subject is never fitted: it judges. */
const HELD_BACK_EVERY = 5;

/** The same observation made again has the same id: the later one replaces the earlier. */
export function evidenceId(source: EvidenceSource, subject: string, expert: ExpertId): string {
  return `${source}:${subject}:${expert}`;
}

/** Whether a subject judges fits rather than making them. All that is known of one subject is on one side. */
export function isHeldBack({ subject }: Pick<Evidence, 'subject'>): boolean {
  return fnv(subject) % HELD_BACK_EVERY === 0;
}

/** Share of its weight that an observation still has. */
export function ageWeight(evidence: Evidence, now: UnixMs): number {
  return 2 ** (-Math.max(0, elapsed(evidence.at, now)) / HALF_LIFE_MS);
}

/** FNV-1a with a final mix, so that the remainder depends on every character. */
function fnv(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 12)) >>> 0;
}
