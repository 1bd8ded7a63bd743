import { describe, expect, it } from 'vitest';

import { actionWords, actorWords } from '../../controller/dashboard/src/access/audit-words.js';
import { parseLimit } from '../../controller/dashboard/src/access/limit-input.js';

describe('the access section', () => {
  it('takes whole numbers above 0 as limits, and nothing as none', () => {
    expect(parseLimit(' 30 ')).toBe(30);
    expect(parseLimit('  ')).toBeNull();
    for (const text of ['0', '-1', '1.5', 'many', '1e400']) expect(parseLimit(text)).toBeUndefined();
  });

  it('names who changed what', () => {
    expect(actorWords({ kind: 'key', id: 'k1', label: 'garden' })).toBe('garden');
    expect(actorWords({ kind: 'owner-key' })).toBe('the owner');
    const entry = {
      id: 1,
      atMs: 0,
      actor: { kind: 'loopback' },
      address: '::1',
      outcome: 'done',
      status: 204,
    } as const;
    expect(actionWords({ ...entry, action: 'DELETE /api/v1/devices/:id', target: 'attic' })).toBe(
      'DELETE /devices/:id (attic)',
    );
    expect(actionWords({ ...entry, action: 'PUT /api/v1/budgets', target: null })).toBe('PUT /budgets');
  });
});
