import { createHash, timingSafeEqual } from 'node:crypto';

import { FleetError } from '@fleetgate/shared/errors';

export interface AccessPolicy {
  /** Undefined: everybody who reaches the port may do everything; only for loopback. */
  readonly apiKey: string | undefined;
  /** Names under which the controller may be addressed; undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined;
  readonly isDevice: (deviceId: string, secret: string) => boolean;
}

export interface AccessRequest {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly host: string | undefined;
}

const ARTEFACT = /^\/api\/v1\/artefacts\/[^/]+$/;

/**
 * Whether a request may pass: undefined, or the reason why not.
 *
 * Health and enrolment (which has its own token) are open; artefacts are for devices too; the dashboard's files hold no
 * state. Everything else needs the key where there is one.
 */
export function refusal(request: AccessRequest, policy: AccessPolicy): FleetError | undefined {
  const foreign = policy.hosts !== undefined && !policy.hosts.has(hostName(request.host));
  if (foreign) {
    // A web page that rebinds its own name to 127.0.0.1 would otherwise speak for the person who opened it.
    return new FleetError('auth.forbidden', `this controller does not answer to the name ${hostName(request.host)}`, {
      hint: 'address it as 127.0.0.1 or localhost, or start it with --host and an API key',
    });
  }
  if (isOpen(request.path)) return undefined;
  const token = bearerToken(request.authorization);
  if (ARTEFACT.test(request.path) && token !== undefined && isDeviceToken(token, policy)) return undefined;
  if (policy.apiKey === undefined) return undefined;
  if (token === undefined) {
    return new FleetError('auth.missing', 'this controller asks for its API key', {
      hint: 'send it as `Authorization: Bearer KEY`',
    });
  }
  if (isSame(token, policy.apiKey)) return undefined;
  return new FleetError('auth.invalid', 'the API key is wrong', {
    hint: 'it is FLEETGATE_API_KEY of the controller, or the file api-key in its data directory',
  });
}

function isOpen(path: string): boolean {
  if (path === '/healthz' || path === '/api/v1/enrol') return true;
  const isStatic = !/^\/(?:api|v1|metrics|readyz)(?:\/|$)/.test(path);
  return isStatic;
}

function isDeviceToken(token: string, policy: AccessPolicy): boolean {
  const colon = token.indexOf(':');
  return colon > 0 && policy.isDevice(token.slice(0, colon), token.slice(colon + 1));
}

function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S+)\s*$/i.exec(header ?? '')?.[1];
}

function hostName(host: string | undefined): string {
  return (host ?? '')
    .toLowerCase()
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '');
}

function isSame(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
