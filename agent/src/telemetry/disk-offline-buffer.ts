import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';

import type { Batch } from './batch.js';

/** Held in memory before a segment is written: one write per minutes, not per sample. */
const SEGMENT_BYTES = 64 * 1024;
/** On disk at most: about a day of samples every 5 s. */
const MOST_BYTES = 8 * 1024 * 1024;

interface Segment {
  readonly path: string;
  readonly size: number;
}

/**
 * Telemetry that could not be sent yet, oldest first: in memory, then in files of the data directory.
 *
 * Bounded: beyond it the oldest segment is dropped and counted. What is in memory survives `close`, not a kill.
 * A disk that cannot be written costs the oldest batches, never the agent.
 */
export class DiskOfflineBuffer {
  readonly #folder: string;
  readonly #log: Logger;
  readonly #mostBytes: number;
  #segments: Segment[] = [];
  #head: Batch[] = [];
  #headSegment: Segment | undefined;
  #tail: { readonly batch: Batch; readonly line: string }[] = [];
  #tailBytes = 0;
  #next = 0;
  #dropped = 0;

  constructor(folder: string, log: Logger, mostBytes = MOST_BYTES) {
    this.#folder = folder;
    this.#log = log;
    this.#mostBytes = mostBytes;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const names = readdirSync(folder).filter((name) => /^\d{12}\.jsonl$/.test(name));
    for (const name of names.sort()) {
      const path = join(folder, name);
      this.#segments.push({ path, size: statSync(path).size });
      this.#next = Number(name.slice(0, 12)) + 1;
    }
  }

  /** Batches lost to the bound since the start; a dropped segment counts all of its. */
  get dropped(): number {
    return this.#dropped;
  }

  get isEmpty(): boolean {
    return this.#head.length + this.#segments.length + this.#tail.length === 0;
  }

  push(batch: Batch): void {
    const line = JSON.stringify(batch);
    this.#tail.push({ batch, line });
    this.#tailBytes += line.length + 1;
    if (this.#tailBytes > SEGMENT_BYTES) this.#spill();
  }

  /** The oldest batch, left in place; undefined when there is none. */
  peek(): Batch | undefined {
    while (this.#head.length === 0) {
      const segment = this.#segments.shift();
      if (segment === undefined) return this.#tail[0]?.batch;
      this.#head = this.#read(segment);
      this.#headSegment = segment;
      if (this.#head.length === 0) this.#remove(segment);
    }
    return this.#head[0];
  }

  /** Removes what `peek` gave. */
  shift(): void {
    if (this.#head.length > 0) {
      this.#head.shift();
      if (this.#head.length === 0 && this.#headSegment !== undefined) {
        this.#remove(this.#headSegment);
        this.#headSegment = undefined;
      }
      return;
    }
    const entry = this.#tail.shift();
    if (entry !== undefined) this.#tailBytes -= entry.line.length + 1;
  }

  /** Writes what is only in memory. */
  close(): void {
    this.#spill();
  }

  #spill(): void {
    if (this.#tail.length === 0) return;
    const path = join(this.#folder, `${String(this.#next++).padStart(12, '0')}.jsonl`);
    const text = this.#tail.map(({ line }) => `${line}\n`).join('');
    const count = this.#tail.length;
    this.#tail = [];
    this.#tailBytes = 0;
    try {
      const file = openSync(path, 'wx', 0o600);
      try {
        writeSync(file, text);
      } finally {
        closeSync(file);
      }
      this.#segments.push({ path, size: text.length });
    } catch (error) {
      this.#dropped += count;
      this.#log.warn('telemetry.dropped', { batches: count, reason: messageOf(error) });
      rmSync(path, { force: true });
    }
    this.#bound();
  }

  #bound(): void {
    let size = this.#segments.reduce((total, segment) => total + segment.size, 0);
    while (size > this.#mostBytes) {
      const oldest = this.#segments.shift();
      if (oldest === undefined) return;
      const lost = this.#read(oldest).length;
      this.#dropped += lost;
      size -= oldest.size;
      this.#remove(oldest);
      this.#log.warn('telemetry.dropped', { batches: lost, reason: `more than ${this.#mostBytes} bytes wait` });
    }
  }

  #read(segment: Segment): Batch[] {
    let text: string;
    try {
      text = readFileSync(segment.path, 'utf8');
    } catch {
      return [];
    }
    const batches: Batch[] = [];
    for (const line of text.split('\n')) {
      try {
        // Our own lines, whole or torn at the end: the controller's schema has the last word.
        if (line !== '') batches.push(JSON.parse(line) as Batch);
      } catch {
        this.#dropped += 1;
      }
    }
    return batches;
  }

  #remove(segment: Segment): void {
    rmSync(segment.path, { force: true });
  }
}
