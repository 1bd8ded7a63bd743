import { boundFigure, shown, WHOLE } from './bound-change.js';
import type { Slope } from './bound-trial.js';
import { isFloor } from './constraints.js';
import type { BudgetPrice } from './sensitivity.js';

type Facts = Omit<BudgetPrice, 'text'>;

/**
 * `power budget 12 W: +1 W buys 0.55 points, up to 14 W; nothing more from 20 W on (tried to 24 W); with the experts
 * where they are, +1 W buys 0.31 points, up to 13 W; -0.12 W costs 0.07 points.`
 */
export function priceText(price: Facts): string {
  const parts = [mainPart(price), flatPart(price), keptPart(price), lossPart(price)];
  const now = `${price.name} ${boundFigure(price.group, price.value)}`;
  return `${now}: ${parts.filter((part) => part !== undefined).join('; ')}.`;
}

function mainPart(price: Facts): string {
  const { best, dual } = price;
  if (best === null) return `${moreOf(price)} buys nothing (tried to ${boundFigure(price.group, price.triedTo)})`;
  if (best !== undefined) return slopeText(price, best);
  if (dual === null) return 'not priced for lack of time';
  return `${signed(price, 1)} buys ${shown(dual)} points at this placement, for small changes`;
}

function keptPart(price: Facts): string | undefined {
  const { kept, best } = price;
  if (kept === undefined || best === undefined || best === null) return undefined;
  if (kept === null) return 'nothing with the experts where they are';
  const near = (a: number, b: number) => Math.abs(a - b) <= 0.02 * Math.abs(b);
  const isSame = near(kept.perUnit, best.perUnit) && near(kept.upTo, best.upTo);
  return isSame ? undefined : `with the experts where they are, ${slopeText(price, kept)}`;
}

function flatPart({ group, triedTo, best }: Facts): string | undefined {
  if (best === null || best === undefined || best.flatFrom === null) return undefined;
  return `nothing more from ${boundFigure(group, best.flatFrom)} on (tried to ${boundFigure(group, triedTo)})`;
}

/** The smallest step the other way. */
function lossPart(price: Facts): string | undefined {
  const step = price.steps.findLast(({ size }) => size < 0);
  if (step?.best === undefined) return undefined;
  if (step.best === null) return `no plan fits ${boundFigure(price.group, step.value)}`;
  const loss = price.objective - step.best;
  const size = signed(price, step.size);
  return loss <= 4e-6 * Math.max(1, price.objective) ? `${size} costs nothing` : `${size} costs ${shown(loss)} points`;
}

function slopeText(price: Facts, slope: Slope): string {
  const { group, value } = price;
  const upTo = `${slope.isOpen ? 'at least to' : 'up to'} ${boundFigure(group, slope.upTo)}`;
  if (slope.jump !== undefined) {
    const { at, after } = slope.jump;
    const size = Math.abs(at - value);
    const gain = `${signed(price, size)} buys ${shown(slope.perUnit * size)} points at once`;
    return `${gain}, ${signed(price, Math.abs(after - value))} nothing`;
  }
  const size = stepShown(price, Math.abs(slope.upTo - value));
  return `${signed(price, size)} buys ${shown(slope.perUnit * size)} points, ${upTo}`;
}

/** One unit, or the power of ten below the range where the range is shorter than that. */
function stepShown({ group }: Facts, range: number): number {
  return WHOLE.has(group) || range >= 1 ? 1 : 10 ** Math.floor(Math.log10(Math.max(1e-9, range)) + 1e-9);
}

/** `+1 W`, `-0.1 served share`: how the bound changes when it is loosened (above 0) or tightened by `size`. */
function signed({ group, unit }: Facts, size: number): string {
  const change = isFloor(group) ? -size : size;
  return `${change < 0 ? '-' : '+'}${shown(Math.abs(change))} ${unit}`;
}

const moreOf = ({ group }: Facts): string => (isFloor(group) ? 'less' : 'more');
