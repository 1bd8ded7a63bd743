import { decode, decodePart } from '@fleetgate/shared/protocol/codec';
import { jobCancelSchema, jobNameSchema, jobNextSchema, jobSchema } from '@fleetgate/shared/protocol/job';
import { parseTopic } from '@fleetgate/shared/protocol/topics';
import { desiredSchema } from '@fleetgate/shared/protocol/twin';

import type { Incoming } from './controller-link.js';

/** What a message on one of the device's topics says; undefined where there is nothing for a device to hear. */
export function decodeIncoming(topic: string, payload: Uint8Array): Incoming | undefined {
  const channel = parseTopic(topic)?.channel;
  switch (channel) {
    case 'desired': {
      // An empty retained message is how a broker is told to forget one.
      if (payload.length === 0) return undefined;
      const result = decode(desiredSchema, payload);
      return result.ok
        ? { kind: 'desired', desired: result.message }
        : { kind: 'refused', channel, error: result.error };
    }
    case 'jobs': {
      const result = decode(jobSchema, payload);
      if (result.ok) return { kind: 'job', job: result.message };
      const { error } = result;
      const job = decodePart(jobNameSchema, payload);
      return job === undefined ? { kind: 'refused', channel, error } : { kind: 'unread-job', job, error };
    }
    case 'job-cancel': {
      const result = decode(jobCancelSchema, payload);
      return result.ok ? { kind: 'cancel', cancel: result.message } : { kind: 'refused', channel, error: result.error };
    }
    case 'job-next': {
      const result = decode(jobNextSchema, payload);
      return result.ok ? { kind: 'next', next: result.message } : { kind: 'refused', channel, error: result.error };
    }
    case 'presence':
    case 'reported':
    case 'telemetry':
    case 'events':
    case 'job-out':
    case undefined:
      return undefined;
  }
}
