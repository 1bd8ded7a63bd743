import type { RolloutMetricView, RolloutView } from '@fleetgate/shared/api/rollouts';

export const ROLLOUT_TONES = {
  running: 'busy',
  paused: 'warn',
  adopted: 'good',
  'rolled-back': 'bad',
  aborted: 'off',
} as const;

/** What takes the place of what. */
export function subjectWords({ subject }: Pick<RolloutView, 'subject'>): string {
  if (subject.kind === 'variant') return `${subject.incumbent} → ${subject.candidate}`;
  return subject.kind === 'agent' ? `agent ${subject.sequence}` : `settings ${subject.sequence} of ${subject.name}`;
}

/** What can be said of the candidate so far: what is worse, else what has to be shown. */
export function evidenceWords({ metrics }: Pick<RolloutView, 'metrics'>): string {
  const worse = metrics.find(({ verdict }) => verdict === 'worse');
  if (worse !== undefined) return `${worse.metric}: ${boundsWords(worse)} lost, ${worse.margin} tolerated`;
  const quality = metrics.find(({ metric }) => metric === 'quality');
  if (quality === undefined) return 'quality is not looked at';
  return `quality: ${boundsWords(quality)} lost, after ${quality.seen.candidate} probe prompts`;
}

function boundsWords({ lostAtLeast, lostAtMost }: RolloutMetricView): string {
  if (lostAtLeast === null || lostAtMost === null) return 'not known yet how much is';
  return `${lostAtLeast.toFixed(3)} to ${lostAtMost.toFixed(3)}`;
}
