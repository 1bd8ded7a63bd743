/** Keeps what the controller has learned of costs: fed by every device's benchmarks, saved beside the database. */
import type { Clock } from '@fleetgate/shared/clock';
import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Fleet } from './fleet/fleet.js';
import { readJsonFile, writeJsonFile } from './platform/disk-json-file.js';
import { CostModel, type CostSources } from './telemetry/cost-model.js';

/** What jobs taught within this time is lost by a crash; benchmarks never are, devices report them again. */
const SAVE_PERIOD = milliseconds(60_000);

export interface KeptCosts {
  readonly costs: CostModel;
  /** Saves for the last time. */
  close(): Promise<void>;
}

/** Reads costs back and keeps them up to date with what devices report. A damaged file is begun anew. */
export async function openCosts(
  path: string,
  sources: CostSources,
  fleet: Fleet,
  clock: Clock,
  log: Logger,
): Promise<KeptCosts> {
  const costs = restored(await readJsonFile(path), sources, log);
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
      await writeJsonFile(path, costs.toRecord());
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
    close: async () => {
      stop();
      subscription.unsubscribe();
      await saving;
      await save();
    },
  };
}

function restored(record: unknown, sources: CostSources, log: Logger): CostModel {
  if (record === undefined) return new CostModel(sources);
  try {
    return CostModel.fromRecord(record, sources);
  } catch (error) {
    if (!isFleetError(error, 'store.corrupt')) throw error;
    log.warn('costs.forgotten', { reason: error.message });
    return new CostModel(sources);
  }
}
