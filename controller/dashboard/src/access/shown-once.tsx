/** A secret that the controller tells only now. */
export function ShownOnce({ what, secret }: { readonly what: string; readonly secret: string }) {
  return (
    <p class="shown-once" role="status">
      The new {what}, shown this once:
      <code data-secret={what}>{secret}</code>
    </p>
  );
}
