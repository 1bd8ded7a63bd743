import { correctionOf } from './adaptation.js';
import type { Adaptation } from './learning-cycle.js';

/** Corrections of class qualities, by `expert class`. */
export type ClassShifts = Readonly<Record<string, number>>;

/** A class's quality that moved by less than this is no reason to plan anew. */
const MATERIAL = 0.02;

export function classShifts({ experts }: Adaptation): ClassShifts {
  const shifts: Record<string, number> = {};
  for (const [expert, { fit }] of Object.entries(experts)) {
    for (const classId of fit?.classes ?? []) {
      if (fit !== undefined) shifts[`${expert} ${classId}`] = correctionOf(fit, classId, undefined).shift;
    }
  }
  return shifts;
}

/** Whether planning has to look again: some class's quality has moved since `told`. */
export function isMaterial(told: ClassShifts, now: ClassShifts): boolean {
  return [...new Set([...Object.keys(told), ...Object.keys(now)])].some(
    (key) => Math.abs((told[key] ?? 0) - (now[key] ?? 0)) > MATERIAL,
  );
}
