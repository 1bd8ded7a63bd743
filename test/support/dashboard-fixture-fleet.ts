/** A small deterministic fleet for the dashboard's own tests: three boards, nine experts, one plan per power budget. */
import type {
  Budgets,
  CandidateView,
  DeviceView,
  ExpertView,
  PlanConstraint,
  PlanView,
  RequestView,
} from '@fleetgate/shared/api/operations';
import { expertId, variantId } from '@fleetgate/shared/ids';
import { SeededRandom } from '@fleetgate/shared/random';

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
    desiredGeneration: 3,
    observedGeneration: 3,
    settled: true,
    power: { source: 'modelled', from: 'board profile', idleW: device.idleW, loadW: device.loadW },
    variants: device.hosts.map((id) => ({
      variantId: variantOf(id),
      ...(id === 'story' ? { residency: 'fetching' as const, progress: 0.62 } : { residency: 'resident' as const }),
      memoryBytes: (EXPERTS.find((each) => each.id === id)?.mib ?? 0) * MIB,
    })),
    measurements: [],
    last,
    lastSampleMs: atMs,
  };
}

/** Below this no placement serves the demand; above `EASE_W` the bound does not bind. */
const LEAST_W = 11.2;
const EASE_W = 13.9;

export const START_BUDGETS: Budgets = {
  fleetPowerW: 13.2,
  maxVariants: null,
  moveBytes: null,
  defaultClass: { latencyMeanMs: 4000, energyJ: 12, minServed: 0.95, minReplicas: 1, weight: 1 },
  classes: {},
};

export function planFor(budgets: Budgets, id: string, atMs: number, trigger: string): PlanView {
  const bound = budgets.fleetPowerW;
  const common = { id, createdAtMs: atMs, trigger, method: 'milp', budgets, solveMs: 412, demand: [] };
  if (bound !== null && bound < LEAST_W) {
    return {
      ...common,
      state: 'rejected',
      activatedAtMs: null,
      status: 'infeasible',
      objective: null,
      bound: null,
      gap: null,
      verified: false,
      placements: [],
      poweredOn: [],
      routing: [],
      constraints: [],
      conflict: ['power', 'demand'],
      relaxations: [
        { group: 'power', slack: LEAST_W - bound, unit: 'W', text: `power budget ${bound} W -> ${LEAST_W} W` },
        { group: 'demand', slack: 0.21, unit: 'ratio', text: 'served share 95 % -> 74 %' },
      ],
      explanation: [],
    };
  }
  const usedW = Math.min(bound ?? EASE_W, EASE_W);
  const share = (usedW - LEAST_W) / (EASE_W - LEAST_W);
  const binding = bound !== null && bound < EASE_W;
  const hosts = DEVICES.flatMap((device) =>
    device.hosts.filter((expert) => expert !== 'moe' || share > 0.35).map((expert) => ({ device, expert })),
  );
  const constraints: PlanConstraint[] = [
    { group: 'latency', subject: 'story', used: 3920, limit: 4000, unit: 'ms', binding: false, price: 0.0011 },
    { group: 'energy', subject: 'code', used: 7.4, limit: 12, unit: 'J', binding: false, price: null },
    { group: 'util', subject: 'jetson', used: 0.61, limit: 0.8, unit: 'ratio', binding: false, price: null },
    { group: 'util', subject: 'phone', used: 0.38, limit: 0.8, unit: 'ratio', binding: false, price: null },
    { group: 'demand', subject: 'math', used: 1, limit: 0.95, unit: 'ratio', binding: false, price: null },
    { group: 'memory', subject: 'phone', used: 1.34, limit: 3, unit: 'GiB', binding: false, price: null },
  ];
  if (bound !== null) {
    const power = { group: 'power', subject: '', used: usedW, limit: bound, unit: 'W', binding };
    constraints.unshift({ ...power, price: binding ? 41.5 : 0 });
  }
  return {
    ...common,
    state: 'active',
    activatedAtMs: atMs,
    status: 'optimal',
    objective: 630 + 112 * share,
    bound: 630 + 112 * share,
    gap: 0,
    verified: true,
    placements: hosts.map(({ device, expert }) => ({ deviceId: device.id, variantId: variantOf(expert) })),
    poweredOn: DEVICES.map((device) => device.id),
    routing: hosts.map(({ device, expert }, i) => ({
      classId: expert,
      deviceId: device.id,
      variantId: variantOf(expert),
      ratePerS: expert === 'big' ? 0 : 0.04 + 0.03 * (i % 4),
      quality: 0.7,
      energyJ: 3 + i * 0.4,
      latencyMs: 700 + i * 140,
    })),
    constraints,
    conflict: null,
    relaxations: null,
    explanation: [
      binding
        ? `Fleet power binds: one more watt would buy 41.5 points of quality.`
        : 'No budget binds: this is the best quality that these experts and devices can give.',
      'math, code and moe run on jetson because it gives their answers for the fewest joules.',
      'medical and finance run on pi: together they need 1.3 GiB and their demand keeps it busy 38 % of the time.',
      'dialogue and story run on phone, which is slow but draws least when idle.',
    ],
  };
}

export function candidatesFor(chosen: string, random: SeededRandom): readonly CandidateView[] {
  return EXPERTS.map((expert): CandidateView => {
    const device = DEVICES.find((each) => each.hosts.includes(expert.id));
    const isChosen = expert.id === chosen;
    const quality = isChosen
      ? 0.71
      : expert.words === null
        ? 0.55 + 0.1 * random.uniform()
        : 0.3 + 0.2 * random.uniform();
    const energyJ = device === undefined ? null : 2 + device.loadW * 0.4 * random.uniform();
    const excluded = expert.id === 'story' && !isChosen ? 'still being fetched' : null;
    return {
      expertId: expert.id,
      variantId: variantOf(expert.id),
      deviceId: device?.id ?? null,
      quality,
      qualitySd: 0.03 + 0.05 * random.uniform(),
      latencyMs: device === undefined ? null : 24_000 / device.tokensPerS,
      energyJ,
      value: excluded === null && energyJ !== null ? quality - 0.012 * energyJ : null,
      chosen: isChosen,
      excluded,
    };
  });
}

/** The expert that a prompt's words ask for; the small generalist when none do. */
export function chooseExpert(model: string, prompt: string): { readonly expert: string; readonly device: string } {
  const asked = EXPERTS.find((expert) => model === expert.id || model === variantOf(expert.id));
  const expert =
    asked ?? EXPERTS.find((each) => each.words?.test(prompt) === true) ?? EXPERTS.find((e) => e.id === 'moe');
  const id = expert?.id ?? 'generalist';
  return { expert: id, device: DEVICES.find((each) => each.hosts.includes(id))?.id ?? 'jetson' };
}

export function endedRequest(
  id: string,
  receivedAtMs: number,
  prompt: string,
  model: string,
  planId: string,
): RequestView {
  const random = new SeededRandom(Array.from(id).reduce((sum, char) => sum * 31 + char.charCodeAt(0), 7));
  const { expert, device } = chooseExpert(model, prompt);
  const board = DEVICES.find((each) => each.id === device);
  const outputTokens = 24 + Math.floor(90 * random.uniform());
  const latencyMs = (1000 * outputTokens) / (board?.tokensPerS ?? 40) + 90;
  const energyJ = ((board?.loadW ?? 8) - (board?.idleW ?? 3)) * 0.85 * (latencyMs / 1000);
  const predicted = {
    latencyMs: latencyMs * (0.85 + 0.3 * random.uniform()),
    energyJ: energyJ * (0.8 + 0.35 * random.uniform()),
  };
  return {
    id,
    receivedAtMs,
    endedAtMs: receivedAtMs + latencyMs,
    state: 'succeeded',
    endpoint: '/v1/chat/completions',
    model,
    mode: 'auto',
    classId: expert,
    planId,
    promptChars: prompt.length,
    expertId: expert,
    variantId: variantOf(expert),
    deviceId: device,
    attempts: [{ deviceId: device, variantId: variantOf(expert), startedAtMs: receivedAtMs, outcome: 'succeeded' }],
    why: `${expert} is expected to answer best (quality 0.71) and ${device} has it resident with a free slot.`,
    candidates: candidatesFor(expert, random).map((each) => (each.chosen ? { ...each, ...predicted } : each)),
    predicted,
    actual: {
      latencyMs,
      energyJ,
      promptTokens: Math.ceil(prompt.length / 4),
      outputTokens,
      ttftMs: 84,
      energySource: 'modelled',
    },
    finishReason: 'stop',
    error: null,
  };
}
