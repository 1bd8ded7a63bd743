import type { DeviceId } from '@fleetgate/shared/ids';

import type { Device } from '../fleet/device.js';
import { presentReport } from '../fleet/device.js';
import type { Placements } from './lingering.js';
import type { RolloutRecord } from './rollout-record.js';
import type { Subject } from './rollout-spec.js';
import type { RolloutDevice } from './wave-devices.js';

/** The devices that a rollout is about: those that the plan gives the incumbent, or of the board, or all. */
export function rolloutDevices(
  { subject, devices: had }: Pick<RolloutRecord, 'subject' | 'devices'>,
  fleet: Iterable<Device>,
  placements: Placements,
): readonly RolloutDevice[] {
  return [...fleet]
    .filter((device) => had.includes(device.id) || isAbout(subject, device, placements))
    .map((device) => asRolloutDevice(device, subject));
}

function isAbout(subject: Subject, { id, board }: Device, placements: Placements): boolean {
  switch (subject.kind) {
    case 'variant':
      return placements.get(id)?.has(subject.incumbent) === true;
    case 'board-config':
      return board === subject.name;
    case 'agent':
      return true;
  }
}

function asRolloutDevice(device: Device, subject: Subject): RolloutDevice {
  const { id, board, presence, last } = device;
  const report = presentReport(device);
  return {
    id,
    board,
    isOnline: presence === 'online',
    candidate: subject.kind === 'variant' ? variantState(report, subject) : releaseState(report, subject),
    charging: report?.conditions?.charging,
    network: report?.conditions?.network,
    temperatureC: last.temperatureC,
  };
}

type Report = ReturnType<typeof presentReport>;

function variantState(
  report: Report,
  { candidate }: Subject & { readonly kind: 'variant' },
): RolloutDevice['candidate'] {
  const residency = report?.variants.find(({ variantId }) => variantId === candidate)?.residency;
  if (residency === undefined || residency === 'absent' || residency === 'evicting') return 'absent';
  return residency === 'resident' ? 'there' : residency === 'failed' ? 'failed' : 'coming';
}

function releaseState(
  report: Report,
  { kind, name, sequence }: Exclude<Subject, { readonly kind: 'variant' }>,
): RolloutDevice['candidate'] {
  const said = report?.releases?.find((release) => release.kind === kind && release.name === name);
  if (said?.sequence !== sequence) return 'absent';
  return said.state === 'active' ? 'there' : said.state === 'failed' ? 'failed' : 'coming';
}

/** Boards that a rollout is limited to, as every one of its waves is; undefined: it is for all. */
export function boardsOf({ waves }: Pick<RolloutRecord, 'waves'>): ReadonlySet<string> | undefined {
  const limits = waves.map(({ devices: { boards } }) => boards);
  return limits.some((boards) => boards === undefined) ? undefined : new Set(limits.flatMap((boards) => boards ?? []));
}

/**
 * Devices of the plan with the candidate in the incumbent's place where a rollout wants it. What was adopted holds wherever
 * the incumbent may still be planned, on the boards that it was for. The same object where none does.
 */
export function substituted(
  placements: Placements,
  records: Iterable<RolloutRecord>,
  boardOf: (device: DeviceId) => string | undefined,
): Placements {
  let result = placements;
  for (const record of records) {
    const { subject, devices, state } = record;
    if (subject.kind !== 'variant') continue;
    const boards = boardsOf(record);
    const isWanted = (device: DeviceId): boolean =>
      devices.includes(device) || (state === 'adopted' && boards?.has(boardOf(device) ?? '') !== false);
    for (const [device, variants] of result) {
      if (!isWanted(device) || !variants.has(subject.incumbent)) continue;
      const swapped = [...variants].map((variant) => (variant === subject.incumbent ? subject.candidate : variant));
      result = new Map(result).set(device, new Set(swapped));
    }
  }
  return result;
}
