/** Keeps what the controller has learned of costs and of the work that is asked: saved beside the database. */
import type { Clock } from '@fleetgate/shared/clock';
import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Fleet } from './fleet/fleet.js';
import { readJsonFile, writeJsonFile } from './platform/disk-json-file.js';
import { CostModel, type CostSources } from './telemetry/cost-model.js';
import { WorkloadModel } from './telemetry/workload-model.js';

/** What jobs taught within this time is lost by a crash; benchmarks never are, devices report them again. */
const SAVE_PERIOD = milliseconds(60_000);

export interface KeptCosts {
  readonly costs: CostModel;
  readonly workloads: WorkloadModel;
  /** Saves for the last time. */
  close(): Promise<void>;
}

/** Reads both back and keeps costs up to date with the devices' benchmarks. A damaged file is begun anew. */
export async function openCosts(
  paths: { readonly costs: string; readonly workloads: string },
  sources: CostSources,
  fleet: Fleet,
  clock: Clock,
  log: Logger,
): Promise<KeptCosts> {
  const readCosts = (record: unknown) => CostModel.fromRecord(record, sources);
  const costs = (await restored(paths.costs, readCosts, log)) ?? new CostModel(sources);
  const readWorkloads = (record: unknown) => WorkloadModel.fromRecord(record);
  const workloads = (await restored(paths.workloads, readWorkloads, log)) ?? new WorkloadModel();
  for (const device of fleet.view.values()) {
    for (const measurement of device.reported?.measurements ?? []) costs.observeMeasurement(device.id, measurement);
  }
  const subscription = fleet.changes$.subscribe(({ event, after }) => {
    if (after === undefined) costs.forget(event.deviceId);
    if (event.kind !== 'reported') return;
    for (const measurement of event.reported.measurements) costs.observeMeasurement(event.deviceId, measurement);
  });
  const save = async (): Promise<void> => {
    try {
      await writeJsonFile(paths.costs, costs.toRecord());
      await writeJsonFile(paths.workloads, workloads.toRecord());
    } catch (error) {
      log.warn('costs.not-saved', { reason: messageOf(error) });
    }
  };
  let saving = Promise.resolve();
  const stop = clock.every(SAVE_PERIOD, () => {
    saving = saving.then(save);
  });
  return {
    costs,
    workloads,
    close: async () => {
      stop();
      subscription.unsubscribe();
      await saving;
      await save();
    },
  };
}

async function restored<T>(path: string, read: (record: unknown) => T, log: Logger): Promise<T | undefined> {
  const record = await readJsonFile(path);
  if (record === undefined) return undefined;
  try {
    return read(record);
  } catch (error) {
    if (!isFleetError(error, 'store.corrupt')) throw error;
    log.warn('costs.forgotten', { path, reason: error.message });
    return undefined;
  }
}
