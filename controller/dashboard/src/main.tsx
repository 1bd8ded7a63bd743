import { systemClock } from '@fleetgate/shared/clock';
import { effect, signal } from '@preact/signals';
import { render } from 'preact';

import { createClient, sessionKeyStore } from './api/client.js';
import { startLiveFeed } from './api/live-feed.js';
import { App } from './app.js';
import { createChatStore } from './chat/chat-store.js';
import { type Page, PageProvider } from './page.js';
import { createStore } from './state/store.js';
import './styles/base.css';
import './styles/parts.css';
import './styles/fleet.css';
import './styles/chat.css';
import './styles/plan.css';
import './styles/requests.css';
import './styles/rollouts.css';
import './styles/access.css';

const client = createClient(document.baseURI, sessionKeyStore);
const store = createStore(systemClock);
const feed = startLiveFeed({
  client,
  target: store,
  clock: systemClock,
  chance: () => Math.random(),
  hasKey: () => sessionKeyStore.read() !== null,
});
const chat = createChatStore(client, systemClock, () =>
  store.link({ phase: 'needs-key', refused: sessionKeyStore.read() !== null }),
);
const page: Page = {
  store,
  client,
  chat,
  feed,
  openRequest: signal<string | null>(null),
  useKey: (key) => {
    sessionKeyStore.write(key);
    store.link({ phase: 'connecting' });
    feed.retryNow();
  },
};

effect(() => {
  if (store.connection.value.phase === 'live') void chat.loadModels();
});
window.addEventListener('offline', () => feed.drop('This computer is offline.'));
window.addEventListener('online', () => feed.retryNow());

const root = document.getElementById('app');
if (root !== null) {
  render(
    <PageProvider value={page}>
      <App />
    </PageProvider>,
    root,
  );
}
