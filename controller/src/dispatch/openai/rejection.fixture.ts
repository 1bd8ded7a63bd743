/** The error of a kind that `call` rejects with; fails on any other end. */
export async function rejection<T extends Error>(
  kind: abstract new (...given: never[]) => T,
  call: Promise<unknown>,
): Promise<T> {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof kind) return error;
  throw new Error(`expected ${kind.name}, got ${String(error)}`);
}
