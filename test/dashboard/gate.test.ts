import { describe, expect, it } from 'vitest';

import { gateNotice } from '../../controller/dashboard/src/fleet/gate-notice.js';

const gate = { state: 'ready' as const, why: null, experts: 4, trainedOn: 90 };

describe('what the header says of the gate', () => {
  it('is nothing while it works or nothing is known', () => {
    expect(gateNotice(null)).toBeNull();
    expect(gateNotice({ gate })).toBeNull();
  });

  it('is that prompts are not told apart, and why', () => {
    const notice = gateNotice({ gate: { ...gate, state: 'degraded', why: 'self-test failed' } });
    expect(notice).toMatchObject({ word: 'Uniform gate', tone: 'warn' });
    expect(notice?.title).toContain('self-test failed');
  });

  it('is what is in use while one is trained', () => {
    expect(gateNotice({ gate: { ...gate, state: 'training' } })?.title).toContain('before this one');
    expect(gateNotice({ gate: { ...gate, state: 'training', trainedOn: 0 } })?.title).toContain('cards');
  });
});
