import type { ActorView, AuditView } from '@fleetgate/shared/api/access';

/** Who made a change. */
export function actorWords({ kind, id, label }: ActorView): string {
  switch (kind) {
    case 'key':
      return label ?? id ?? 'a key';
    case 'owner-key':
      return 'the owner';
    case 'loopback':
      return 'this machine';
    case 'anyone':
      return 'without a key';
  }
}

/** What it was done to, where the action leaves that open. */
export function actionWords({ action, target }: AuditView): string {
  const short = action.replace('/api/v1/', '/');
  return target === null ? short : `${short} (${target})`;
}
