import { readdir, readFile } from 'node:fs/promises';

/** Resident memory of a process and all below it, shared pages counted in each, bytes; 0 when it is gone. */
export async function treeResidentBytes(pid: number): Promise<number> {
  const [own, children] = await Promise.all([residentBytes(pid), childrenOf(pid)]);
  const below = await Promise.all(children.map(treeResidentBytes));
  return below.reduce((sum, bytes) => sum + bytes, own);
}

async function residentBytes(pid: number): Promise<number> {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Process ids right below it; none when it is gone. */
export async function childrenOf(pid: number): Promise<readonly number[]> {
  try {
    const tasks = await readdir(`/proc/${pid}/task`);
    const lists = await Promise.all(
      tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => '')),
    );
    return lists.flatMap((list) => list.split(' ').filter(Boolean).map(Number));
  } catch {
    return [];
  }
}

/** Command line, words apart by spaces; empty when it is gone. */
export async function commandLineOf(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ').trim();
}
