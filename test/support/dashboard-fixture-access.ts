/** Who is let in, for the dashboard's fixture: lists that change as the controller's do. */
import type { AuditView, KeyView, NewKeyView, Scope, TenantLimits, TenantView } from '@fleetgate/shared/api/access';
import type { JoinTokenView, WaitingDeviceView } from '@fleetgate/shared/api/operations';

const OWNER: AuditView = {
  id: 1,
  atMs: 0,
  actor: { kind: 'owner-key' },
  address: '192.168.1.20',
  action: 'PUT /api/v1/budgets',
  target: null,
  outcome: 'done',
  status: 200,
};

/** An answer's status and body; undefined: there is no such route. */
export type FixtureAnswer = { readonly status: number; readonly body?: unknown } | undefined;

export class FixtureAccess {
  readonly #startedAtMs: number;
  #waiting: WaitingDeviceView[];
  #tokens: JoinTokenView[] = [];
  #keys: KeyView[] = [];
  #tenants: TenantView[] = [];

  constructor(startedAtMs: number) {
    this.#startedAtMs = startedAtMs;
    const keySha256 = '5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592';
    const asked = { board: 'raspberry-pi-5', address: '192.168.1.44', askedAtMs: startedAtMs - 40_000, keySha256 };
    this.#waiting = [{ name: 'attic', ...asked, state: 'waiting' }];
  }

  answer(method: string, path: string, body: unknown): FixtureAnswer {
    const [resource = '', id = '', verdict = ''] = path.replace('/api/v1/', '').split('/');
    switch (`${method} ${resource}`) {
      case 'GET enrolments':
        return { status: 200, body: { items: this.#waiting } };
      case 'POST enrolments':
        this.#waiting = this.#waiting.map((device) =>
          device.name === id ? { ...device, state: verdict === 'approve' ? 'approved' : 'denied' } : device,
        );
        return { status: 204 };
      case 'GET join-tokens':
        return { status: 200, body: { items: this.#tokens } };
      case 'POST join-tokens': {
        const expiresAtMs = this.#startedAtMs + 3_600_000;
        const token = { id: 'jt1', createdAtMs: this.#startedAtMs, expiresAtMs, usesLeft: 1 };
        this.#tokens = [token];
        return { status: 201, body: { ...token, token: 'join-attic-secret' } };
      }
      case 'GET keys':
        return { status: 200, body: { items: this.#keys } };
      case 'POST keys':
        return { status: 201, body: this.#makeKey(body as NewKey) };
      case 'DELETE keys':
        this.#keys = this.#keys.map((key) => (key.id === id ? { ...key, state: 'revoked' } : key));
        return { status: 204 };
      case 'GET tenants':
        return { status: 200, body: { items: this.#tenants } };
      case 'PUT tenants':
        this.#tenants = [{ name: id, keys: 0, ...(body as TenantLimits) }];
        return { status: 200, body };
      case 'GET audit':
        return { status: 200, body: { items: [{ ...OWNER, atMs: this.#startedAtMs - 90_000 }], next: null } };
      default:
        return undefined;
    }
  }

  #makeKey({ label, tenant, scopes }: NewKey): NewKeyView {
    const made = { createdAtMs: this.#startedAtMs, expiresAtMs: null, revokedAtMs: null, lastUsedAtMs: null };
    const key: KeyView = { id: `key-${this.#keys.length + 1}`, label, tenant, scopes, state: 'valid', ...made };
    this.#keys = [...this.#keys, key];
    return { ...key, key: `fg_${key.id}_secret` };
  }
}

interface NewKey {
  readonly label: string;
  readonly tenant: string | null;
  readonly scopes: readonly Scope[];
}
