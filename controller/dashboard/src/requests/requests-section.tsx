import { Empty, Loading, Section } from '../parts/section.js';
import { usePage } from '../page.js';
import { PowerChart } from './power-chart.js';
import { RequestChart } from './request-chart.js';
import { RequestTable } from './request-table.js';

export function RequestsSection() {
  const { store } = usePage();
  const { requests } = store.fleet.value;
  return (
    <Section id="requests" title="Requests">
      {!store.loaded.value ? (
        <Loading rows={4} />
      ) : (
        <div class="requests">
          <div class="panel">
            <h3>Requests and energy</h3>
            <RequestChart />
          </div>
          <div class="panel">
            <h3>Power by device</h3>
            <PowerChart />
          </div>
          <div class="panel requests-list">
            {requests.length === 0 ? (
              <Empty title="No requests yet">
                <p>Ask something above, or point any OpenAI client at</p>
                <pre>{`${window.location.origin}/v1`}</pre>
              </Empty>
            ) : (
              <RequestTable requests={requests} />
            )}
          </div>
        </div>
      )}
    </Section>
  );
}
