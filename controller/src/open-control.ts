/** Puts together what keeps budgets while requests come; what is used of them outlives the controller. */
import { join } from 'node:path';

import { messageOf } from '@fleetgate/shared/errors';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { BudgetControl } from './dispatch/control/budget-control.js';
import { usageRecordSchema } from './dispatch/control/usage-accounts.js';
import type { DispatchPolicy } from './dispatch/dispatch-policy.js';
import type { Fleet } from './fleet/fleet.js';
import type { Planner } from './planning/planner.js';
import { readJsonFile, writeJsonFile } from './platform/disk-json-file.js';
import type { Surroundings } from './surroundings.js';

/** A crash forgets what was used within this time. */
const SAVE_PERIOD = milliseconds(10_000);

/** Goes on with the accounts of the last run; a damaged file is begun anew. */
export async function openControl(
  { clock, config, closers, log }: Surroundings,
  {
    fleet,
    planner,
    policy,
  }: { readonly fleet: Fleet; readonly planner: Planner; readonly policy: () => DispatchPolicy | undefined },
): Promise<BudgetControl> {
  const path = join(config.dataDir, 'usage.json');
  const control = new BudgetControl({
    clock,
    facts: () => policy()?.control,
    budgets: () => planner.budgets(),
    chargeOf: (device) => fleet.view.get(device)?.last.batteryRatio,
    concurrencyOf: (device) => fleet.view.get(device)?.reported?.concurrency ?? 1,
  });
  const stored = await readJsonFile(path);
  const record = stored === undefined ? undefined : usageRecordSchema.safeParse(stored);
  if (record?.success === true) control.restore(record.data);
  else if (record !== undefined) log.warn('usage.forgotten', { path, reason: record.error.issues[0]?.message });
  const left = fleet.changes$.subscribe(({ event, after }) => {
    if (after === undefined) control.forget(event.deviceId);
  });
  let saved = JSON.stringify(control.toRecord());
  const save = async (): Promise<void> => {
    const now = control.toRecord();
    const text = JSON.stringify(now);
    if (text === saved) return;
    saved = text;
    await writeJsonFile(path, now).catch((error: unknown) => log.warn('usage.not-saved', { reason: messageOf(error) }));
  };
  let saving = Promise.resolve();
  const stop = clock.every(SAVE_PERIOD, () => {
    saving = saving.then(save);
  });
  closers.add('budget control', async () => {
    stop();
    left.unsubscribe();
    await saving;
    await save();
  });
  return control;
}
