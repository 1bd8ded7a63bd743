/** Ends this process quietly when whoever reads its output has gone (`fleetgate ... | head`). Once a process. */
export function stopQuietlyOnClosedPipe(): void {
  if (!process.stdout.listeners('error').includes(onClosedPipe)) process.stdout.on('error', onClosedPipe);
}

function onClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(0);
  // A full disk: what was printed is cut short, and whoever reads it must not take it for whole.
  process.stderr.write(`error: the output cannot be written: ${error.message}\n`);
  process.exit(1);
}
