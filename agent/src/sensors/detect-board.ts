import type { BoardProfile } from '@fleetgate/shared/catalogue/board';

/** What a machine says of itself. Unknown is undefined. */
export interface BoardFacts {
  /** /proc/device-tree/model */
  readonly deviceTreeModel: string | undefined;
  /** /proc/device-tree/compatible, one entry a line. */
  readonly deviceTreeCompatible: string | undefined;
  readonly termux: boolean;
  readonly arch: string;
  readonly memoryBytes: number;
}

/**
 * The profile that fits the machine with most conditions; among equals the lower id, so that order never decides.
 * Undefined when none fits (an architecture without a profile).
 */
export function detectBoard(boards: Iterable<BoardProfile>, facts: BoardFacts): BoardProfile | undefined {
  return [...boards]
    .filter((board) => fits(board, facts))
    .sort((a, b) => conditions(b) - conditions(a) || (a.id < b.id ? -1 : 1))[0];
}

function conditions(board: BoardProfile): number {
  return Object.values(board.detect).filter((value) => value !== undefined).length * 2 + specificity(board);
}

/** A board named by its device tree is more than an architecture: breaks the tie of one condition each. */
function specificity({ detect }: BoardProfile): number {
  const named = detect.deviceTreeModel ?? detect.deviceTreeCompatible ?? detect.termux;
  return named === undefined ? 0 : 1;
}

function fits({ detect }: BoardProfile, facts: BoardFacts): boolean {
  return (
    matches(detect.deviceTreeModel, facts.deviceTreeModel) &&
    matches(detect.deviceTreeCompatible, facts.deviceTreeCompatible) &&
    (detect.termux === undefined || detect.termux === facts.termux) &&
    (detect.arch === undefined || detect.arch === facts.arch) &&
    facts.memoryBytes >= (detect.memoryAtLeastBytes ?? 0) &&
    facts.memoryBytes <= (detect.memoryAtMostBytes ?? Infinity)
  );
}

function matches(pattern: string | undefined, text: string | undefined): boolean {
  return pattern === undefined || (text !== undefined && new RegExp(pattern, 'm').test(text));
}
