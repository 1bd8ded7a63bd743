import type { BoardConfig } from '@fleetgate/shared/catalogue/board-config';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';

import type { BoardState } from './board-state.js';
import { type Obstacle, type OwnSettings, planChanges, capsOf, planReturn, type Step } from './plan-changes.js';

/** A board whose settings can be read and changed. */
export interface Board {
  read(): Promise<BoardState>;
  /** Throws `board.not-permitted`, `board.not-applied`. */
  change(step: Step): Promise<void>;
}

/** Above the clocks that any board has, twice: a board that answers every change with another one is given up on. */
const MOST_STEPS = 256;

/**
 * Brings `board` to what `config` says, each step read back, and gives the steps that were done. What the board had of its
 * own goes to `remember` before it is changed for the first time.
 *
 * All or nothing: where a setting cannot be had, nothing is changed (`board.unsupported`); where a step fails or does not
 * take (`board.not-permitted`, `board.not-applied`), what the board had before is set again.
 */
export async function applyConfig(
  config: BoardConfig,
  board: Board,
  own: OwnSettings,
  remember: (own: OwnSettings) => void,
): Promise<readonly Step[]> {
  const before = await board.read();
  const { obstacles } = planChanges(config, before, own);
  if (obstacles.length > 0) throw unsupported(config, obstacles);
  let kept = own;
  try {
    return await pursue(
      board,
      (state) => planChanges(config, state, kept).steps,
      (step, state) => remember((kept = withOwn(kept, step, state))),
    );
  } catch (error) {
    throw await afterReturn(board, before, error);
  }
}

/** Does the first of the steps that `plan` sees, looks again, until it sees none. */
async function pursue(
  board: Board,
  plan: (state: BoardState) => readonly Step[],
  onStep: (step: Step, state: BoardState) => void,
): Promise<readonly Step[]> {
  const done: Step[] = [];
  for (;;) {
    const state = await board.read();
    const [step] = plan(state);
    if (step === undefined) return done;
    const last = done.at(-1);
    if (last !== undefined && targetOf(last) === targetOf(step)) throw notTaken(last, step);
    if (done.length === MOST_STEPS)
      throw new FleetError('board.not-applied', `not settled after ${MOST_STEPS} changes`);
    onStep(step, state);
    await board.change(step);
    done.push(step);
  }
}

async function afterReturn(board: Board, before: BoardState, error: unknown): Promise<FleetError> {
  const code = isFleetError(error) ? error.code : 'board.not-applied';
  const hint = isFleetError(error) ? error.hint : undefined;
  const because = { cause: error, ...(hint === undefined ? {} : { hint }) };
  try {
    const undone = await pursue(
      board,
      (state) => planReturn(before, state),
      () => {},
    );
    const what = undone.length === 0 ? 'nothing was changed' : 'the former settings are back';
    return new FleetError(code, `${messageOf(error)}; ${what}`, because);
  } catch (second) {
    return new FleetError(
      code,
      `${messageOf(error)}; and the former settings could not be set again: ${messageOf(second)}`,
      because,
    );
  }
}

/** With what `step` replaces, where that is the board's own. A power mode replaces the caps of all clocks with its own. */
function withOwn(own: OwnSettings, step: Step, state: BoardState): OwnSettings {
  if (step.kind === 'write') return { ...own, files: { [step.path]: step.was, ...own.files } };
  return { powerModeId: own.powerModeId ?? step.was, files: { ...capsOf(state), ...own.files } };
}

const targetOf = (step: Step): string => (step.kind === 'power-mode' ? 'power mode' : step.path);

/** A step in words, for people. */
export function describeStep(step: Step): string {
  if (step.kind === 'power-mode') return `power mode ${step.name} (${step.id}), was ${step.was ?? 'unknown'}`;
  return `${step.path}: ${step.value}, was ${step.was}`;
}

function notTaken(done: Step, seen: Step): FleetError {
  return new FleetError(
    'board.not-applied',
    `the board did not take ${describeStep(done)}: it now has ${seen.was ?? 'none'}`,
    {
      hint: 'something else on this board sets it too (a power daemon, the thermal governor); see `fleetgate board show`',
    },
  );
}

/** Says everything that keeps `config` from this board. */
export function unsupported({ name }: BoardConfig, obstacles: readonly Obstacle[]): FleetError {
  const what = obstacles.map(({ setting, reason }) => `${setting}: ${reason}`).join('; ');
  return new FleetError('board.unsupported', `board config ${name} cannot be had here: ${what}`, {
    hint: 'fleetgate board show lists what this board has',
  });
}
