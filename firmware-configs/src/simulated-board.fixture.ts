import { FleetError } from '@fleetgate/shared/errors';

import type { Board } from './apply-config.js';
import { ORIN_NANO_TABLE } from './board-tree.fixture.js';
import type { BoardState, ClockDomain } from './board-state.js';
import { parsePowerModes } from './nvpmodel.js';
import type { Step } from './plan-changes.js';

/** Those of an Orin Nano without 7W, which takes a restart. */
export const MODES = parsePowerModes(ORIN_NANO_TABLE).modes.slice(0, 3);
export const GOVERNORS = ['performance', 'schedutil'];
const KHZ = [729_600, 960_000, 1_344_000, 1_728_000];
const HZ = [306e6, 510e6, 612e6, 918e6, 1020e6];

const clockOf = (path: string, frequencies: readonly number[], cap: number): ClockDomain => ({
  path,
  governor: 'schedutil',
  governors: GOVERNORS,
  cap,
  hardwareMax: frequencies.at(-1),
  frequencies,
});

/** A simulated board whose power modes reset the caps, as nvpmodel does; `failAt`: the change that fails once. */
export class SimulatedBoard implements Board {
  state: BoardState = {
    powerModes: MODES,
    powerModeId: 1,
    cpu: [clockOf('/policy0', KHZ, 1_344_000), clockOf('/policy4', KHZ, 1_344_000)],
    gpu: [clockOf('/gpu', HZ, 918e6)],
    firmware: [],
  };
  failAt = Infinity;
  #changes = 0;

  read(): Promise<BoardState> {
    return Promise.resolve(this.state);
  }

  change(step: Step): Promise<void> {
    if (this.#changes++ === this.failAt) return Promise.reject(new Error('refused'));
    if (step.kind === 'power-mode') this.state = inMode(this.state, step.id);
    else if ([...this.state.cpu, ...this.state.gpu].some(({ path }) => step.path.startsWith(`${path}/`))) {
      this.state = written(this.state, step);
    } else return Promise.reject(new FleetError('board.not-applied', `there is no ${step.path}`));
    return Promise.resolve();
  }
}

function inMode(state: BoardState, id: number): BoardState {
  const mode = MODES.find((one) => one.id === id);
  const capped = (domains: readonly ClockDomain[], cap: number | undefined): readonly ClockDomain[] =>
    domains.map((domain) => ({ ...domain, cap: cap ?? domain.hardwareMax ?? 0 }));
  return { ...state, powerModeId: id, cpu: capped(state.cpu, mode?.cpuMaxKHz), gpu: capped(state.gpu, mode?.gpuMaxHz) };
}

function written(state: BoardState, { path, value }: { readonly path: string; readonly value: string }): BoardState {
  const set = (domain: ClockDomain): ClockDomain => {
    if (!path.startsWith(`${domain.path}/`)) return domain;
    return path.endsWith('governor') ? { ...domain, governor: value } : { ...domain, cap: Number(value) };
  };
  return { ...state, cpu: state.cpu.map(set), gpu: state.gpu.map(set) };
}
