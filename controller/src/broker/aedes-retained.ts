import { Readable } from 'node:stream';

import type { Aedes, AedesPublishPacket } from 'aedes';

import { RetainedMessages } from './retained-messages.js';

/** What Aedes asks of whoever keeps retained messages; its types leave it out. */
interface Retaining {
  storeRetained(packet: AedesPublishPacket): Promise<void>;
  createRetainedStreamCombi(filters: readonly string[]): Readable;
}

/** Keeps the retained messages of `engine` in place of its own list, which it searches from end to end. */
export function keepRetained(engine: Aedes): void {
  const messages = new RetainedMessages<AedesPublishPacket>();
  const { persistence } = engine as Aedes & { persistence: Retaining };
  persistence.storeRetained = (packet) => {
    if (packet.payload.length === 0) messages.delete(packet.topic);
    else messages.set(packet.topic, { ...packet });
    return Promise.resolve();
  };
  persistence.createRetainedStreamCombi = (filters) =>
    Readable.from(filters.flatMap((filter) => messages.matching(filter)));
}
