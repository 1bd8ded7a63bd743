/** Entry of the process that loads gateways: its CPU is not theirs. */
import { messageOf } from '@fleetgate/shared/errors';

import { type Load, type LoadResult, runLoad } from './http-load.js';
import { ready } from './process-server.js';

export type LoadReply = LoadResult | { readonly error: string };

process.on('message', (load: Load) => {
  runLoad(load).then(
    (result) => process.send?.(result satisfies LoadReply),
    (error: unknown) => process.send?.({ error: messageOf(error) } satisfies LoadReply),
  );
});
ready(0);
