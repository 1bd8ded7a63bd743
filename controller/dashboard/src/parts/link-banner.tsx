import { timeOfDay } from '../format.js';
import { usePage } from '../page.js';

/** What a reader has to know when the page is not in step with the controller. */
export function LinkBanner() {
  const { store, feed } = usePage();
  const link = store.connection.value;
  if (link.phase !== 'lost') return null;
  const wait = Math.max(0, Math.ceil((link.retryAtMs - store.nowMs.value) / 1000));
  return (
    <div class="banner" role="alert" data-testid="lost">
      <p>
        <strong>Disconnected.</strong> {link.reason}{' '}
        {link.sinceMs === null ? null : <>What you see is from {timeOfDay(link.sinceMs)}. </>}
        <span aria-hidden="true">{wait > 0 ? `Trying again in ${wait}\u00a0s.` : 'Trying again…'}</span>
      </p>
      <button type="button" class="button" onClick={() => feed.retryNow()}>
        Retry now
      </button>
    </div>
  );
}
