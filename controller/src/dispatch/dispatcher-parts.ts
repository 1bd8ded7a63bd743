import type { Clock } from '@fleetgate/shared/clock';
import type { ClassId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Random } from '@fleetgate/shared/random';
import type { Observable } from 'rxjs';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { AttemptFact } from '../fleet/attempt-fact.js';
import type { FleetChange, FleetSnapshot } from '../fleet/device.js';
import type { EvidenceSink } from '../gating/evidence-sink.js';
import type { Gate, GateScore } from '../gating/gate.js';
import type { ProfiledCosts } from '../telemetry/cost.js';
import type { WorkloadEstimator } from '../telemetry/workload-model.js';
import type { Candidate } from './candidates.js';
import type { BudgetControl } from './control/budget-control.js';
import type { DispatchConfig } from './dispatch-config.js';
import type { DispatchPolicy } from './dispatch-policy.js';
import type { ExpertLink } from './expert-link.js';
import type { Ledger } from './ledger.js';
import type { Steering } from './steering.js';

/** What the dispatcher decides from and acts through. */
export interface DispatcherParts {
  readonly fleet: { readonly view: FleetSnapshot; readonly changes$: Observable<FleetChange> };
  readonly catalogue: () => Catalogue;
  /** Undefined while none is trained: prompts are then answered by what the experts' cards say. */
  readonly gate: () => Gate | undefined;
  readonly costs: ProfiledCosts;
  readonly workloads: WorkloadEstimator;
  /** Undefined while no plan is active. */
  readonly policy: () => DispatchPolicy | undefined;
  readonly link: ExpertLink;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Told of every prompt that the gate has put into a class, served or not: the demand that planning counts. */
  readonly onDemand: (classId: ClassId, score: GateScore) => void;
  /** Told what can be learned from; undefined: nothing is. */
  readonly evidence?: EvidenceSink;
  /** Told how each job ended on its device. */
  readonly onAttempt?: (fact: AttemptFact) => void;
  /** How `auto` departs from the highest predicted value; undefined: it does not. */
  readonly steering?: Steering;
  /** Keeps budgets while requests come; undefined: the plan's prices hold as they are. */
  readonly control?: BudgetControl;
  /** Another way to compare candidates, higher first; undefined: quality less what it has to pay. */
  readonly worth?: (candidate: Candidate) => number;
  readonly config: DispatchConfig;
}
