/** A request's decision record, prepared for reading. Pure. */
import type { CandidateView, RequestView } from '@fleetgate/shared/api/operations';

export type RequestTone = 'good' | 'busy' | 'bad' | 'off';

export function stateTone(state: RequestView['state']): RequestTone {
  switch (state) {
    case 'succeeded':
      return 'good';
    case 'queued':
    case 'running':
      return 'busy';
    case 'failed':
    case 'refused':
      return 'bad';
    case 'cancelled':
      return 'off';
  }
}

export function hasEnded(request: RequestView): boolean {
  return request.state !== 'queued' && request.state !== 'running';
}

/** The chosen one, then the eligible by value, then the excluded by quality. */
export function rankCandidates(candidates: readonly CandidateView[]): readonly CandidateView[] {
  const rank = (candidate: CandidateView): number => (candidate.chosen ? 0 : candidate.excluded === null ? 1 : 2);
  return [...candidates].sort(
    (a, b) => rank(a) - rank(b) || (b.value ?? -Infinity) - (a.value ?? -Infinity) || b.quality - a.quality,
  );
}

/** The ends of the scales that a decision's costs are drawn on: what any candidate was predicted to cost, or the answer did. */
export function costScales({ candidates, actual }: Pick<RequestView, 'candidates' | 'actual'>): {
  readonly energyJ: number;
  readonly latencyMs: number;
} {
  const most = (of: 'energyJ' | 'latencyMs'): number =>
    Math.max(actual?.[of] ?? 0, ...candidates.map((one) => one[of] ?? 0));
  return { energyJ: most('energyJ'), latencyMs: most('latencyMs') };
}

/** Actual over predicted less one, in words: `12 % below prediction`; null when either is missing. */
export function deviation(predicted: number | null | undefined, actual: number | null | undefined): string | null {
  if (predicted === null || predicted === undefined || actual === null || actual === undefined) return null;
  if (!(predicted > 0)) return null;
  const off = actual / predicted - 1;
  if (Math.abs(off) < 0.02) return 'as predicted';
  if (off > 1) return `${(actual / predicted).toFixed(1)}× the prediction`;
  return `${Math.round(Math.abs(off) * 100)}\u00a0% ${off > 0 ? 'above' : 'below'} prediction`;
}

export function expertOnDevice(request: Pick<RequestView, 'expertId' | 'deviceId'>): string {
  if (request.expertId === null) return 'no expert';
  return request.deviceId === null ? request.expertId : `${request.expertId} on ${request.deviceId}`;
}
