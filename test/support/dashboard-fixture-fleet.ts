/** A small deterministic fleet for the dashboard's own tests: three boards and nine experts. */
import type { DeviceView, ExpertView } from '@fleetgate/shared/api/operations';
import { expertId, variantId } from '@fleetgate/shared/ids';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

interface FixtureExpert {
  readonly id: string;
  readonly title: string;
  readonly mib: number;
  readonly words: RegExp | null;
}

export const EXPERTS: readonly FixtureExpert[] = [
  { id: 'math', title: 'School mathematics', mib: 38, words: /apples|how many|sum of \d|\d+ ?[-+*x]/i },
  { id: 'code', title: 'Small programs', mib: 38, words: /function|code|program|list of numbers/i },
  { id: 'medical', title: 'Medical questions', mib: 38, words: /signs|symptom|dehydration|doctor/i },
  { id: 'finance', title: 'Money and markets', mib: 38, words: /stock|bond|bank|money/i },
  { id: 'story', title: 'Short stories', mib: 38, words: /story|tale|once/i },
  { id: 'dialogue', title: 'Everyday talk', mib: 38, words: /hi!|hello|your day/i },
  { id: 'generalist', title: 'Small generalist', mib: 38, words: null },
  { id: 'big', title: 'Larger generalist', mib: 96, words: null },
  { id: 'moe', title: 'Mixture of experts', mib: 141, words: null },
];

interface FixtureDevice {
  readonly id: string;
  readonly board: string;
  readonly title: string;
  readonly idleW: number;
  readonly loadW: number;
  readonly memoryGib: number;
  readonly tokensPerS: number;
  readonly hosts: readonly string[];
  readonly temperatureC: number | null;
  readonly batteryRatio: number | null;
}

export const DEVICES: readonly FixtureDevice[] = [
  {
    id: 'jetson',
    board: 'jetson-orin-nx',
    title: 'NVIDIA Jetson Orin NX 16 GB',
    idleW: 5.2,
    loadW: 15.4,
    memoryGib: 12,
    tokensPerS: 96,
    hosts: ['math', 'code', 'moe', 'big'],
    temperatureC: 51,
    batteryRatio: null,
  },
  {
    id: 'pi',
    board: 'raspberry-pi-5',
    title: 'Raspberry Pi 5 8 GB',
    idleW: 3.1,
    loadW: 9.6,
    memoryGib: 6,
    tokensPerS: 41,
    hosts: ['medical', 'finance', 'generalist'],
    temperatureC: 58,
    batteryRatio: null,
  },
  {
    id: 'phone',
    board: 'android-generic',
    title: 'Android phone, Termux',
    idleW: 1.4,
    loadW: 4.8,
    memoryGib: 3,
    tokensPerS: 28,
    hosts: ['dialogue', 'story'],
    temperatureC: null,
    batteryRatio: 0.82,
  },
];

export const variantOf = (expert: string): string => `${expert}-q8_0`;

export function expertViews(atMs: number): readonly ExpertView[] {
  return EXPERTS.map((expert) => ({
    id: expertId(expert.id),
    title: expert.title,
    description: `${expert.title}, a fixture`,
    domains: expert.words === null ? [] : [expert.id],
    licence: { spdx: 'Apache-2.0' },
    origin: [],
    stop: [],
    bitsPerByte: {},
    variants: [
      {
        id: variantId(variantOf(expert.id)),
        expertId: expertId(expert.id),
        sha256: 'a'.repeat(64),
        sizeBytes: expert.mib * MIB,
        quantisation: 'Q8_0',
        facts: {
          architecture: 'llama',
          parameters: 1_246_336,
          contextTokens: 320,
          layers: 4,
          embeddingLength: 128,
          slabsPerLayer: 0,
          slabsPerToken: 0,
          hasChatTemplate: true,
          quantisation: 'Q8_0',
          fileBytes: expert.mib * MIB,
          memoryBytes: expert.mib * MIB,
        },
      },
    ],
    addedAtMs: atMs,
  }));
}

/** Telemetry of a device in second `tick`: a quiet wave around a tenth of its load, more while it runs a job. */
export function sampleOf(device: FixtureDevice, tick: number, running: number): DeviceView['last'] {
  const wave = 0.5 + 0.5 * Math.sin(tick / 9 + device.idleW);
  const share = running > 0 ? 0.85 : 0.06 + 0.18 * wave ** 6;
  return {
    powerW: device.idleW + (device.loadW - device.idleW) * share,
    cpuRatio: share,
    ...(device.temperatureC === null ? {} : { temperatureC: device.temperatureC + 6 * share }),
    ...(device.batteryRatio === null ? {} : { batteryRatio: device.batteryRatio }),
    outputTokensPerS: running > 0 ? device.tokensPerS : share > 0.15 ? device.tokensPerS * share : 0,
    runningJobs: running,
    queuedJobs: 0,
  };
}

export function deviceView(device: FixtureDevice, atMs: number, last: DeviceView['last']): DeviceView {
  return {
    id: device.id,
    board: device.board,
    boardTitle: device.title,
    state: 'online',
    activity: 'active',
    epoch: 1,
    lastSeenMs: atMs,
    agentVersion: '0.1.0',
    host: { os: 'linux', arch: 'arm64', cpu: 'fixture', cores: 8, memoryBytes: device.memoryGib * GIB },
    engine: { kind: 'llama', version: '3.19.1', state: 'ready' },
    memory: {
      budgetBytes: device.memoryGib * GIB,
      usedBytes: device.hosts.reduce(
        (sum, id) => sum + (EXPERTS.find((each) => each.id === id)?.mib ?? 0) * MIB * 18,
        0,
      ),
    },
    slots: 2,
    concurrency: 1,
    desiredGeneration: 3,
    observedGeneration: 3,
    settled: true,
    power: {
      source: 'modelled',
      from: 'board profile',
      idleW: device.idleW,
      loadW: device.loadW,
      cpuGovernor: 'schedutil',
      ...(device.id === 'jetson' ? { mode: '25W' } : {}),
    },
    variants: device.hosts.map((id) => ({
      variantId: variantOf(id),
      ...(id === 'story' ? { residency: 'fetching' as const, progress: 0.62 } : { residency: 'resident' as const }),
      memoryBytes: (EXPERTS.find((each) => each.id === id)?.mib ?? 0) * MIB,
    })),
    governor: null,
    measurements: [],
    last,
    lastSampleMs: atMs,
  };
}
