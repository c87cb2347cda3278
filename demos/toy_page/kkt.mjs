// The network Φ(θ; x), its gradients, and the four KKT conditions, as kkt_ref defines them.
//
// Samples are plain arrays. Weights have shape (out, in); θ is W_1, b_1, W_2, ... in one vector.
// Names of dimensions: m candidates, d inputs, h neurons, K outputs, J directions, P parameters.

/** A network from its widths [d, h_1, ..., K] and θ; with `alpha`, its gates in ∇θΦ are σ(αz). */
export function network(widths, theta, { alpha = null, biases = widths.map((_, l) => l === 0) } = {}) {
  let start = 0;
  const layers = widths.slice(1).map((rows, l) => {
    const cols = widths[l];
    const end = start + rows * cols;
    const stop = end + (biases[l] ? rows : 0);
    const layer = { rows, cols, start, stop, W: theta.subarray(start, end) };
    layer.b = biases[l] ? theta.subarray(end, stop) : null;
    start = stop;
    return layer;
  });
  if (start !== theta.length) throw new Error(`theta: expected ${start} numbers, got ${theta.length}`);
  return { theta, layers, alpha, K: widths.at(-1) };
}

const gate = (net, z) => (net.alpha === null ? +(z > 0) : 0.5 * (1 + Math.tanh(0.5 * net.alpha * z)));

/** W v for one layer. */
function times({ rows, cols }, W, v) {
  const out = new Float64Array(rows);
  for (let r = 0, at = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += W[at++] * v[c];
    out[r] = sum;
  }
  return out;
}

/** Wᵀ v for one layer. */
function pulled({ rows, cols }, W, v) {
  const out = new Float64Array(cols);
  for (let r = 0, at = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) out[c] += W[at++] * v[r];
  }
  return out;
}

/** a + b, written into a. */
function plus(a, b) {
  if (b) for (let i = 0; i < a.length; i++) a[i] += b[i];
  return a;
}

/** The inputs and preactivations of each layer at x, and the outputs (K). */
export function forward(net, x) {
  const inputs = [], z = [];
  let a = Float64Array.from(x);
  for (const layer of net.layers) {
    inputs.push(a);
    z.push(plus(times(layer, layer.W, a), layer.b));
    a = z.at(-1).slice();
    for (let j = 0; j < a.length; j++) if (!(a[j] > 0)) a[j] = 0;
  }
  return { inputs, z, outputs: z.at(-1) };
}

/** Σ_c U_c ∇θΦ_c(x) as a vector (P), for coefficients U (K). */
export function gradient(net, x, U) {
  const { inputs, z } = forward(net, x);
  const found = new Float64Array(net.theta.length);
  let delta = Float64Array.from(U);
  for (let l = net.layers.length - 1; l >= 0; l--) {
    const { rows, cols, start, b, W } = net.layers[l];
    for (let r = 0, at = start; r < rows; r++) {
      for (let c = 0; c < cols; c++) found[at++] = delta[r] * inputs[l][c];
    }
    if (b) found.set(delta, start + rows * cols);
    if (l) delta = pulled(net.layers[l], W, delta).map((v, j) => v * gate(net, z[l - 1][j]));
  }
  return found;
}

/** The directions D (J, K) of a sample: its label, or e_y − e_j for each class j. */
export function directions(y, K) {
  if (K === 1) return [[y]];
  return Array.from({ length: K }, (_, j) => Array.from({ length: K }, (_, c) => (c === y) - (c === j)));
}

/** U = Σ_j λ_j D_j, (K). */
function coefficients(y, lam, K) {
  const D = directions(y, K);
  return D[0].map((_, c) => D.reduce((sum, row, j) => sum + lam[j] * row[c], 0));
}

/** The margins ⟨D_j, Φ(x)⟩ of a sample, (J), without the direction that is zero. */
export function margins(net, x, y) {
  const { outputs } = forward(net, x);
  return directions(y, net.K).map((row, j) =>
    net.K > 1 && j === y ? Infinity : row.reduce((sum, v, c) => sum + v * outputs[c], 0),
  );
}

/** λ (J) of a sample with a multiplier on its smallest margin, and 0 elsewhere. */
export function onSmallest(net, x, y, multiplier) {
  const u = margins(net, x, y), smallest = u.indexOf(Math.min(...u));
  return u.map((_, j) => (j === smallest ? multiplier : 0));
}

/** θ − Σ_i Σ_j λ_ij Σ_c D_ijc ∇θΦ_c(x_i), (P), for x (m, d), y (m) and λ (m, J). */
export function residual(net, x, y, lam) {
  const left = net.theta.slice();
  x.forEach((point, i) => {
    const g = gradient(net, point, coefficients(y[i], lam[i], net.K));
    for (let p = 0; p < left.length; p++) left[p] -= g[p];
  });
  return left;
}

const norm = (v) => Math.sqrt(v.reduce((sum, one) => sum + one * one, 0));

/** ‖residual‖², and its derivatives by x (m, d) and by λ (m, J). */
export function lossAndGradient(net, x, y, lam) {
  const left = residual(net, x, y, lam);
  const gradX = [], gradLam = [];
  x.forEach((point, i) => {
    const { inputs, z } = forward(net, point);
    const R = net.layers.map(({ rows, cols, start, stop, b }) => ({
      W: left.subarray(start, start + rows * cols),
      b: b ? left.subarray(start + rows * cols, stop) : null,
    }));
    // the derivative of the outputs when θ moves along the residual, layer by layer
    const dots = [];
    let moved = new Float64Array(point.length);
    net.layers.forEach((layer, l) => {
      const own = plus(times(layer, R[l].W, inputs[l]), R[l].b);
      dots.push(plus(times(layer, layer.W, moved), own));
      moved = dots[l].map((v, j) => v * gate(net, z[l][j]));
    });
    gradLam.push(directions(y[i], net.K).map((row) => -2 * row.reduce((s, v, c) => s + v * dots.at(-1)[c], 0)));
    // and back again
    let barDot = Float64Array.from(coefficients(y[i], lam[i], net.K), (v) => -2 * v);
    let bar = new Float64Array(net.K);
    for (let l = net.layers.length - 1; l >= 0; l--) {
      const layer = net.layers[l];
      const below = plus(pulled(layer, layer.W, bar), pulled(layer, R[l].W, barDot));
      if (l === 0) { gradX.push(Array.from(below)); break; }
      const belowDot = pulled(layer, layer.W, barDot);
      const g = z[l - 1].map((v) => gate(net, v));
      const bend = (j) => (net.alpha === null ? 0 : net.alpha * g[j] * (1 - g[j]) * dots[l - 1][j]);
      bar = below.map((v, j) => v * (z[l - 1][j] > 0) + bend(j) * belowDot[j]);
      barDot = belowDot.map((v, j) => v * g[j]);
    }
  });
  return { value: norm(left) ** 2, gradX, gradLam };
}

/** The violation of each KKT condition, for x (m, d), y (m), λ (m, J) and the margin q. */
export function report(net, x, y, lam, q) {
  const left = residual(net, x, y, lam);
  const part = (v, { start, stop }) => norm(v.subarray(start, stop));
  const u = x.map((point, i) => margins(net, point, y[i])).flat();
  const l = lam.flat(), used = u.map(Number.isFinite);
  const sum = (f) => u.reduce((total, _, i) => total + (used[i] ? f(i) : 0), 0);
  return {
    stationarity: norm(left) / norm(net.theta),
    byLayer: net.layers.map((layer) => part(left, layer) / part(net.theta, layer)),
    primalFeasibility: Math.max(0, ...u.map((v) => (q - v) / q)),
    dualFeasibility: Math.max(0, ...l.map((v, i) => (used[i] ? -v : 0))),
    complementarySlackness:
      sum((i) => Math.abs(l[i] * (u[i] - q))) / (sum((i) => Math.abs(l[i])) * q || 1),
  };
}

/** The λ ≥ 0 (m, J) with the smallest residual, by coordinate descent. */
export function bestMultipliers(net, x, y, sweeps = 3000) {
  const rows = x.flatMap((p, i) => directions(y[i], net.K).map((D) => gradient(net, p, D)));
  const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  const gram = rows.map((a) => rows.map((b) => dot(a, b)));
  const slope = rows.map((a) => dot(a, net.theta)); // ⟨row, residual⟩, kept up to date below
  const found = rows.map(() => 0);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    for (let i = 0; i < rows.length; i++) {
      const step = Math.max(slope[i] / (gram[i][i] || 1), -found[i]);
      if (step === 0) continue;
      found[i] += step;
      for (let j = 0; j < rows.length; j++) slope[j] -= step * gram[i][j];
    }
  }
  const J = rows.length / x.length;
  return x.map((_, i) => found.slice(J * i, J * i + J));
}
