/** What every section of the page may reach. */
import type { Signal } from '@preact/signals';
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';

import type { Client } from './api/client.js';
import type { LiveFeed } from './api/live-feed.js';
import type { ChatStore } from './chat/chat-store.js';
import type { Store } from './state/store.js';

export interface Page {
  readonly store: Store;
  readonly client: Client;
  readonly chat: ChatStore;
  readonly feed: LiveFeed;
  /** Id of the request whose record is open over the page. */
  readonly openRequest: Signal<string | null>;
  readonly useKey: (key: string) => void;
}

const PageContext = createContext<Page | null>(null);
export const PageProvider = PageContext.Provider;

export function usePage(): Page {
  const page = useContext(PageContext);
  if (page === null) throw new Error('a section was drawn outside the page');
  return page;
}
