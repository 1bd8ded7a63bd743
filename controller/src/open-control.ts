/** Puts together what keeps budgets while requests come; what is used of them outlives the controller. */
import { join } from 'node:path';

import { messageOf } from '@fleetgate/shared/errors';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { BudgetControl } from './dispatch/control/budget-control.js';
import { accountRecordSchema, type UsageRecord, usageRecordSchema } from './dispatch/control/usage-accounts.js';
import { openJournal } from './platform/disk-journal.js';
import type { DispatchPolicy } from './dispatch/dispatch-policy.js';
import type { Journal } from './platform/journal.js';
import { concurrencyOf } from './fleet/device.js';
import type { Fleet } from './fleet/fleet.js';
import type { Planner } from './planning/planner.js';
import { readJsonFile, writeJsonFile } from './platform/disk-json-file.js';
import type { Surroundings } from './surroundings.js';

/** The journal is emptied as often. */
const SAVE_PERIOD = milliseconds(10_000);

/**
 * Goes on with the accounts of the last run, as they were when it ended, however it ended: a journal has each account after
 * every change since it was last saved. Whole accounts, not changes: none counts twice. A damaged file is begun anew.
 */
export async function openControl(
  surroundings: Surroundings,
  {
    fleet,
    planner,
    policy,
  }: {
    readonly fleet: Pick<Fleet, 'changes$' | 'view'>;
    readonly planner: Pick<Planner, 'budgets'>;
    readonly policy: () => DispatchPolicy | undefined;
  },
): Promise<BudgetControl> {
  const { clock, config, closers, log } = surroundings;
  const path = join(config.dataDir, 'usage.json');
  const journal = openJournal(join(config.dataDir, 'usage.journal'), log);
  closers.add('usage journal', () => journal.close());
  const control = new BudgetControl({
    clock,
    facts: () => policy()?.control,
    budgets: () => planner.budgets(),
    chargeOf: (device) => fleet.view.get(device)?.last.batteryRatio,
    concurrencyOf: (device) => concurrencyOf(fleet.view.get(device)),
    onUse: (account) => journal.append(JSON.stringify(account)),
  });
  const stored = await readJsonFile(path);
  const record = stored === undefined ? undefined : usageRecordSchema.safeParse(stored);
  if (record?.success === true) control.restore(record.data);
  else if (record !== undefined) log.warn('usage.forgotten', { path, reason: record.error.issues[0]?.message });
  control.restore(accountsLeft(journal));
  const left = fleet.changes$.subscribe(({ event, after }) => {
    if (after === undefined) control.forget(event.deviceId);
  });
  keepSaving(surroundings, control, journal, path, () => left.unsubscribe());
  return control;
}

function accountsLeft({ left }: Journal): UsageRecord {
  return left.flatMap((line) => {
    const { data } = accountRecordSchema.safeParse(JSON.parse(line));
    return data === undefined ? [] : [data];
  });
}

function keepSaving(
  { clock, closers, log }: Surroundings,
  control: BudgetControl,
  journal: Journal,
  path: string,
  onStop: () => void,
): void {
  let saved: string | undefined;
  const save = async (): Promise<void> => {
    const accounts = control.toRecord();
    const text = JSON.stringify(accounts);
    if (text === saved) return;
    try {
      await writeJsonFile(path, accounts);
    } catch (error) {
      log.warn('usage.not-saved', { reason: messageOf(error) });
      return;
    }
    saved = text;
    const now = control.toRecord();
    journal.keepOnly(JSON.stringify(now) === text ? [] : now.map((account) => JSON.stringify(account)));
  };
  let saving = Promise.resolve();
  const stop = clock.every(SAVE_PERIOD, () => {
    saving = saving.then(save);
  });
  closers.add('budget control', async () => {
    stop();
    onStop();
    await saving;
    await save();
  });
}
