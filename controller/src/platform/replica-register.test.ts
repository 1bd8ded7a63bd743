import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { replicaId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { afterEach, describe, expect, it } from 'vitest';

import { ownerOf, type ReplicaRow } from './replica-register.js';
import { SilentReplicas } from './silent-replicas.js';
import { openDatabase } from './sqlite-database.js';
import { replicaSchema, SqliteReplicaRegister } from './sqlite-replica-register.js';

const [one, two] = [replicaId('one'), replicaId('two')];
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function aRegister(): Promise<SqliteReplicaRegister> {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-replicas-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const database = await openDatabase(join(folder, 'control.sqlite'), [replicaSchema]);
  cleanups.push(() => database.close());
  return new SqliteReplicaRegister(database);
}

describe('the register of replicas', () => {
  it('has who entered, each with its signs of life', async () => {
    const register = await aRegister();
    const first = await register.enter(one);
    await register.enter(two);
    expect(await register.beat(first, 'hello')).toBe(true);
    expect(await register.beat(first, 'hello')).toBe(true);
    expect(await register.all()).toEqual([
      { name: one, incarnation: 1, beats: 2, told: 'hello' },
      { name: two, incarnation: 1, beats: 0, told: '' },
    ]);
  });

  it('gives every start a number of its own, also after one that has gone, and takes the earlier one for gone', async () => {
    const register = await aRegister();
    const first = await register.enter(one);
    const second = await register.enter(one);
    expect([first, second].map(ownerOf)).toEqual(['one/1', 'one/2']);
    expect(await register.beat(first, 'hello')).toBe(false);
    await register.leave(second);
    expect(await register.all()).toEqual([]);
    expect(ownerOf(await register.enter(one))).toBe('one/3');
  });

  it('strikes who has given no sign since it was seen, and nobody else', async () => {
    const register = await aRegister();
    const row = await register.enter(one);
    await register.beat(row, '');
    expect(await register.strike(row)).toBe(false);
    expect(await register.strike({ ...row, beats: 1 })).toBe(true);
    expect(await register.beat(row, '')).toBe(false);
    expect(await register.all()).toEqual([]);
  });
});

describe('SilentReplicas', () => {
  const row = (name: ReplicaRow['name'], beats: number): ReplicaRow => ({ name, incarnation: 1, beats, told: '' });

  it('takes those for gone whose counter stood still for the lease', () => {
    const silent = new SilentReplicas(milliseconds(5000));
    expect(silent.look([row(one, 7), row(two, 0)], unixMs(0))).toEqual([]);
    expect(silent.look([row(one, 7), row(two, 1)], unixMs(4999))).toEqual([]);
    expect(silent.look([row(one, 7), row(two, 1)], unixMs(5000))).toEqual([row(one, 7)]);
    expect(silent.look([row(one, 8), row(two, 1)], unixMs(9999))).toEqual([row(two, 1)]);
  });

  it('gives another incarnation its own time, and so everybody where it begins anew', () => {
    const silent = new SilentReplicas(milliseconds(5000));
    silent.look([row(one, 0)], unixMs(0));
    expect(silent.look([{ ...row(one, 0), incarnation: 2 }], unixMs(5000))).toEqual([]);
    silent.forget();
    expect(silent.look([{ ...row(one, 0), incarnation: 2 }], unixMs(60_000))).toEqual([]);
  });
});
