import { count, joules, number, tokensPerS, watts } from '../format.js';
import { SourceTag } from '../parts/badge.js';
import { Figure } from '../parts/figure.js';
import { Meter } from '../parts/meter.js';
import { Empty, Loading, Section } from '../parts/section.js';
import { usePage } from '../page.js';
import { activePlan, HISTORY_MS } from '../state/live.js';
import { DeviceCard } from './device-card.js';
import { fleetFigures, meanEnergyJ } from './fleet-figures.js';

export function FleetSection() {
  const { store } = usePage();
  const fleet = store.fleet.value;
  const devices = [...fleet.devices.values()];
  return (
    <Section id="fleet" title="Fleet">
      {!store.loaded.value ? (
        <Loading rows={3} />
      ) : (
        <>
          <Totals />
          {devices.length === 0 ? (
            <Empty title="No devices yet">
              <p>
                <code>fleetgate up</code> starts three on this machine. To add another, run this on it, with the join
                token of the controller:
              </p>
              <pre>{`fleetgate agent --controller ${window.location.origin} --board <board> --name <name>`}</pre>
            </Empty>
          ) : (
            <div class="devices">
              {devices.map((device) => (
                <DeviceCard
                  key={device.id}
                  device={device}
                  samples={fleet.power.get(device.id) ?? []}
                  notes={fleet.notes.get(device.id) ?? []}
                />
              ))}
            </div>
          )}
        </>
      )}
    </Section>
  );
}

function Totals() {
  const { store } = usePage();
  const fleet = store.fleet.value;
  const figures = fleetFigures(fleet.devices.values());
  const plan = activePlan(fleet);
  const budgetW = fleet.budgets?.fleetPowerW ?? null;
  const energyJ = meanEnergyJ(fleet.requests, store.nowMs.value - HISTORY_MS);
  return (
    <dl class="figures">
      <Figure label="Devices online" value={`${figures.online}\u00a0/ ${figures.total}`}>
        {figures.queued + figures.running > 0
          ? `${figures.running} running, ${figures.queued} queued`
          : 'no request running'}
      </Figure>
      <Figure label="Fleet power now" value={watts(figures.powerW)}>
        {budgetW === null || figures.powerW === null ? (
          'no bound'
        ) : (
          <>
            <Meter
              label="Fleet power of its budget"
              fill={Math.min(1, figures.powerW / budgetW)}
              text={`${watts(figures.powerW)} of ${watts(budgetW)}`}
              tone="energy"
            />
            of {watts(budgetW)}
          </>
        )}{' '}
        <SourceTag source={figures.powerSource} />
      </Figure>
      <Figure label="Generating" value={tokensPerS(figures.tokensPerS)}>
        over {count(figures.online, 'device')}
      </Figure>
      <Figure label="Energy per answer" value={joules(energyJ)}>
        mean of 15 min, above idle
      </Figure>
      <Figure
        label="Planned quality"
        value={plan?.objective === null || plan === null ? '–' : `${number(plan.objective)}\u00a0/ 1000`}
      >
        {plan === null ? 'no plan yet' : plan.verified ? 'verified' : 'not verified'}
      </Figure>
    </dl>
  );
}
