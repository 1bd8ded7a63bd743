/** Value and gradient (written into `gradient`) of a smooth function at `point`. */
export type SmoothFunction = (point: Float64Array, gradient: Float64Array) => number;

const MEMORY = 8;
const MOST_HALVINGS = 30;
/** Share of the decrease promised by the gradient that a step has to deliver (Armijo 1966). */
const SUFFICIENT = 1e-4;

/**
 * A local minimum from `start` by L-BFGS (Liu and Nocedal 1989) with backtracking; never above the start. Ends when the
 * largest component of the gradient is below `tolerance`, no step helps any more, or after `steps` steps.
 */
export function minimise(f: SmoothFunction, start: Float64Array, steps: number, tolerance: number): Float64Array {
  let point = Float64Array.from(start);
  let gradient = new Float64Array(point.length);
  let value = f(point, gradient);
  const pairs: { readonly s: Float64Array; readonly y: Float64Array; readonly curvature: number }[] = [];
  for (let step = 0; step < steps; step++) {
    if (gradient.every((each) => Math.abs(each) < tolerance)) break;
    const direction = descent(gradient, pairs);
    const slope = dot(gradient, direction);
    let length = pairs.length === 0 ? 1 / Math.max(1, Math.sqrt(dot(gradient, gradient))) : 1;
    const [next, nextGradient] = [new Float64Array(point.length), new Float64Array(point.length)];
    let reached = Infinity;
    for (let halving = 0; halving < MOST_HALVINGS; halving++, length /= 2) {
      for (let at = 0; at < next.length; at++) next[at] = (point[at] ?? 0) + length * (direction[at] ?? 0);
      reached = f(next, nextGradient);
      if (reached <= value + SUFFICIENT * length * slope) break;
    }
    if (!(reached < value)) break;
    const s = next.map((each, at) => each - (point[at] ?? 0));
    const y = nextGradient.map((each, at) => each - (gradient[at] ?? 0));
    const curvature = dot(s, y);
    if (curvature > 1e-12) pairs.push({ s, y, curvature });
    if (pairs.length > MEMORY) pairs.shift();
    [point, gradient, value] = [next, nextGradient, reached];
  }
  return point;
}

/** Minus the approximate inverse Hessian times the gradient (two-loop recursion). */
function descent(
  gradient: Float64Array,
  pairs: readonly { readonly s: Float64Array; readonly y: Float64Array; readonly curvature: number }[],
): Float64Array {
  const direction = gradient.map((each) => -each);
  const shares: number[] = [];
  for (const { s, y, curvature } of pairs.toReversed()) {
    const share = dot(s, direction) / curvature;
    shares.push(share);
    addScaled(direction, -share, y);
  }
  const last = pairs.at(-1);
  if (last !== undefined) {
    const scale = last.curvature / dot(last.y, last.y);
    direction.forEach((each, at) => (direction[at] = each * scale));
  }
  for (const { s, y, curvature } of pairs) {
    addScaled(direction, (shares.pop() ?? 0) - dot(y, direction) / curvature, s);
  }
  return direction;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] ?? 0) * (b[at] ?? 0);
  return sum;
}

function addScaled(into: Float64Array, scale: number, from: Float64Array): void {
  for (let at = 0; at < into.length; at++) into[at] = (into[at] ?? 0) + scale * (from[at] ?? 0);
}
