/** Rollouts and proposals, for the dashboard's fixture. */
import type { ProposalView } from '@fleetgate/shared/api/proposals';
import type { RolloutView } from '@fleetgate/shared/api/rollouts';

import type { FixtureAnswer } from './dashboard-fixture-access.js';

export class FixtureRollouts {
  #rollouts: RolloutView[];
  readonly #proposals: readonly ProposalView[];

  constructor(startedAtMs: number) {
    const metric = { metric: 'quality', margin: 0.02, seen: { candidate: 24, incumbent: 24 } } as const;
    const base = { waves: [{}, {}, {}], waveBeganAtMs: startedAtMs - 60_000, soakBeganAtMs: null } as const;
    this.#rollouts = [
      {
        ...base,
        id: 'ro-2',
        createdAtMs: startedAtMs - 90_000,
        endedAtMs: null,
        subject: { kind: 'variant', incumbent: 'moe-q8_0', candidate: 'moe-q8_0-r60' },
        state: 'running',
        reason: null,
        wave: 1,
        devices: ['jetson'],
        metrics: [{ ...metric, lostAtLeast: -0.001, lostAtMost: 0.004, verdict: 'not-worse' }],
      },
      {
        ...base,
        id: 'ro-1',
        createdAtMs: startedAtMs - 900_000,
        endedAtMs: startedAtMs - 880_000,
        subject: { kind: 'variant', incumbent: 'moe-q8_0', candidate: 'moe-k4' },
        state: 'rolled-back',
        reason: 'quality: at least 0.150 is lost, 0.02 is tolerated (seen: 24, and 24 of the incumbent)',
        wave: 1,
        devices: [],
        metrics: [{ ...metric, lostAtLeast: 0.15, lostAtMost: 0.229, verdict: 'worse' }],
      },
    ];
    this.#proposals = [
      {
        id: 'moe-q8_0-r60.raspberry-pi-5.prune9',
        variantId: 'moe-q8_0-r60',
        board: 'raspberry-pi-5',
        devices: ['pi'],
        tokens: 5200,
        kind: 'prune',
        slabs: 9,
        of: 16,
        covered: 0.914,
        savedBytes: 1_400_000,
        state: 'tolerated',
        lostQuality: 0.0003,
        prompts: 20,
      },
    ];
  }

  answer(method: string, path: string): FixtureAnswer {
    const [resource = '', id = '', verb = ''] = path.replace('/api/v1/', '').split('/');
    switch (`${method} ${resource}`) {
      case 'GET rollouts':
        return { status: 200, body: { items: this.#rollouts } };
      case 'POST rollouts':
        this.#rollouts = this.#rollouts.map((rollout) =>
          rollout.id === id ? { ...rollout, state: verb === 'pause' ? 'paused' : 'running' } : rollout,
        );
        return { status: 200, body: this.#rollouts.find((rollout) => rollout.id === id) };
      case 'GET proposals':
        return { status: 200, body: { items: this.#proposals } };
      case 'POST proposals': {
        const [rollout] = this.#rollouts;
        if (rollout === undefined) return undefined;
        const begun = { ...rollout, id: 'ro-3', devices: [], metrics: [] };
        this.#rollouts = [begun, ...this.#rollouts];
        return { status: 201, body: begun };
      }
      default:
        return undefined;
    }
  }
}
