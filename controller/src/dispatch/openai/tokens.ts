import type { Catalogue } from '../../catalogue/catalogue.js';
import type { DispatchPolicy } from '../dispatch-policy.js';

/** Injection tokens of what the controllers of /v1 read besides the dispatcher. */
export const CLOCK = Symbol('clock');
export const MODELS_SOURCE = Symbol('models source');

/** What the list of models is made of. */
export interface ModelsSource {
  readonly catalogue: () => Catalogue;
  readonly policy: () => DispatchPolicy | undefined;
  /** Unix seconds; the virtual models exist since then. */
  readonly since: number;
}
