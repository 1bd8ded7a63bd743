import type { ListBody } from '@fleetgate/shared/api/operations';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { systemClock } from '@fleetgate/shared/clock';
import { useCallback, useEffect, useState } from 'preact/hooks';

import { type ApiFailure, asFailure } from '../api/failure.js';
import { usePage } from '../page.js';

/** Lists that the live feed does not tell of are asked for anew this often, while somebody looks. */
const AGAIN = milliseconds(10_000);

export interface Listing<Item> {
  /** Null until the first answer. */
  readonly items: readonly Item[] | null;
  /** Why the last question had no answer. */
  readonly fault: ApiFailure | null;
  readonly refresh: () => void;
}

/** The list at `path` of the API, kept up to date while the page is connected and in sight. */
export function useList<Item>(path: string): Listing<Item> {
  const { client, store } = usePage();
  const isLive = store.connection.value.phase === 'live';
  const [items, setItems] = useState<readonly Item[] | null>(null);
  const [fault, setFault] = useState<ApiFailure | null>(null);
  const refresh = useCallback(() => {
    client
      .get<ListBody<Item>>(path)
      .then((body) => {
        setItems(body.items);
        setFault(null);
      })
      .catch((error: unknown) => setFault(asFailure(error)));
  }, [client, path]);
  useEffect(() => {
    if (!isLive) return;
    refresh();
    return systemClock.every(AGAIN, () => {
      if (document.visibilityState === 'visible') refresh();
    });
  }, [isLive, refresh]);
  return { items, fault, refresh };
}
