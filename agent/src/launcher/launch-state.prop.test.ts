import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  FIRST_STATE,
  giveUp,
  isNew,
  type LaunchState,
  launchStateSchema,
  MOST_STARTS,
  onOffer,
  onProven,
  onStart,
  onStopped,
  type Program,
} from './launch-state.js';

const programOf = (sequence: number): Program => ({
  name: 'agent',
  sequence,
  sha256: sequence.toString(16).padStart(64, '0'),
});

type Event = { readonly kind: 'offer'; readonly sequence: number } | { readonly kind: 'start' | 'proven' | 'deadline' };

const events = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: fc.nat({ max: 80 }).map((n): Event => ({ kind: 'offer', sequence: n + 1 })) },
    { weight: 6, arbitrary: fc.constant<Event>({ kind: 'start' }) },
    { weight: 1, arbitrary: fc.constant<Event>({ kind: 'proven' }) },
    { weight: 1, arbitrary: fc.constant<Event>({ kind: 'deadline' }) },
  ),
  { maxLength: 300 },
);

function after(state: LaunchState, event: Event): LaunchState {
  switch (event.kind) {
    case 'offer':
      return onOffer(state, programOf(event.sequence));
    case 'start':
      return onStart(state);
    case 'proven':
      return onProven(state);
    case 'deadline':
      return state.onTrial ? giveUp(state, 'said nothing') : state;
  }
}

describe('whatever happens to programs', () => {
  it('the state can be kept, and below every program on trial is what proved itself last', () => {
    fc.assert(
      fc.property(events, (story) => {
        let state = FIRST_STATE;
        let proven: Program | undefined;
        for (const event of story) {
          state = after(state, event);
          expect(launchStateSchema.parse(state)).toEqual(state);
          if (!state.onTrial) proven = state.stack[0];
          else expect(state.stack[1]).toEqual(proven);
        }
      }),
    );
  });

  it('none is given up and tried again', () => {
    fc.assert(
      fc.property(events, (story) => {
        let state = FIRST_STATE;
        for (const event of story) {
          state = after(state, event);
          for (const { reason: _, ...program } of state.failed) {
            expect(state.stack).not.toContainEqual(program);
            expect(isNew(state, program)).toBe(false);
          }
        }
      }),
    );
  });

  it('starts that come to nothing end at the installed program, after a bounded number', () => {
    fc.assert(
      fc.property(events, (story) => {
        let state = story.reduce(after, FIRST_STATE);
        for (let i = 0; i <= MOST_STARTS.trial + 2 * MOST_STARTS.proven; i++) state = onStart(state);
        expect(state.stack).toEqual([]);
        expect(onStart(state)).toEqual(state);
      }),
    );
  });
});

describe('a program on trial', () => {
  const onTrial = onOffer(FIRST_STATE, programOf(1));

  it('has three starts', () => {
    const third = onStart(onStart(onStart(onTrial)));
    expect(third.stack).toEqual([programOf(1)]);
    expect(onStart(third)).toMatchObject({ stack: [], failed: [{ sequence: 1 }] });
  });

  it('does not lose a start by being told to stop', () => {
    let state = onTrial;
    for (let i = 0; i < 20; i++) state = onStopped(onStart(state));
    expect(state.stack).toEqual([programOf(1)]);
  });

  it('that proved itself may be started without its controller for longer', () => {
    let state = onProven(onStart(onTrial));
    for (let i = 0; i < MOST_STARTS.proven; i++) state = onStart(state);
    expect(state.stack).toEqual([programOf(1)]);
    expect(onStart(state).stack).toEqual([]);
  });

  it('makes way for a newer one, and what both would fall back to stays', () => {
    const proven = onProven(onTrial);
    const newer = onOffer(onOffer(proven, programOf(2)), programOf(3));
    expect(newer.stack).toEqual([programOf(3), programOf(1)]);
    expect(giveUp(newer, 'bad').stack).toEqual([programOf(1)]);
  });
});
