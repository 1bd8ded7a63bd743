import { FleetError } from '@fleetgate/shared/errors';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { FleetSnapshot } from '../fleet/device.js';
import type { ReleaseBook } from './release-book.js';
import { isUnderWay, type RolloutRecord } from './rollout-record.js';
import type { Subject } from './rollout-spec.js';

export interface SubjectFacts {
  readonly catalogue: Catalogue;
  readonly fleet: FleetSnapshot;
  readonly records: readonly RolloutRecord[];
  readonly releases: Pick<ReleaseBook, 'find'>;
}

/** Throws `model.unknown`, `request.invalid` or `rollout.conflict` for what cannot be rolled out now. */
export function checkSubject(subject: Subject, { catalogue, fleet, records, releases }: SubjectFacts): void {
  const other = records.find((record) => isUnderWay(record) && isSameThing(record.subject, subject));
  if (other !== undefined) {
    throw new FleetError('rollout.conflict', `rollout ${other.id} of the same thing is ${other.state}`, {
      hint: `wait for its end, or \`fleetgate rollouts abort ${other.id}\``,
    });
  }
  if (subject.kind !== 'variant') {
    checkReleased(subject, releases);
    return;
  }
  const [incumbent, candidate] = [subject.incumbent, subject.candidate].map((id) => catalogue.variants.get(id));
  if (incumbent === undefined || candidate === undefined) {
    const missing = incumbent === undefined ? subject.incumbent : subject.candidate;
    throw new FleetError('model.unknown', `there is no variant ${missing}`, { hint: '`fleetgate experts` lists all' });
  }
  if (incumbent.id === candidate.id || incumbent.expertId !== candidate.expertId) {
    throw new FleetError(
      'request.invalid',
      `subject: expected two variants of one expert, got ${incumbent.id} of ${incumbent.expertId} and ${candidate.id} of ${candidate.expertId}`,
    );
  }
  const most = Math.max(0, ...[...fleet.values()].map(({ reported }) => reported?.memory.budgetBytes ?? 0));
  if (candidate.facts.memoryBytes <= most) return;
  throw new FleetError(
    'request.invalid',
    `subject.candidate: ${candidate.id} needs ${candidate.facts.memoryBytes} bytes of memory, the largest device has ${most}`,
  );
}

function checkReleased(
  { kind, name, sequence }: Exclude<Subject, { readonly kind: 'variant' }>,
  releases: SubjectFacts['releases'],
): void {
  if (releases.find(kind, name, sequence) !== undefined) return;
  throw new FleetError('request.invalid', `subject: there is no release ${sequence} of ${kind} ${name}`, {
    hint: '`fleetgate releases list` shows those that the controller keeps',
  });
}

function isSameThing(a: Subject, b: Subject): boolean {
  if (a.kind !== 'variant' || b.kind !== 'variant')
    return a.kind === b.kind && a.kind !== 'variant' && b.kind !== 'variant' && a.name === b.name;
  const theirs = new Set([b.incumbent, b.candidate]);
  return theirs.has(a.incumbent) || theirs.has(a.candidate);
}
