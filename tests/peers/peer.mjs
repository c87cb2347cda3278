// JavaScript, plain arrays: node peer.mjs questions.json answers.json
// It answers all questions about networks of one output, ReLU or softplus, and SSIM.
import { readFileSync, writeFileSync } from "node:fs";

const [, , questionsFile, answersFile] = process.argv;
const { format, seed, dtype, arrays } = JSON.parse(readFileSync(questionsFile, "utf8"));
const dot = (a, b) => a.reduce((sum, v, k) => sum + v * b[k], 0);
const sum = (a) => a.reduce((total, v) => total + v, 0);
const transposed = (W) => W[0].map((_, j) => W.map((row) => row[j]));

function network(prefix) {
  const layers = [];
  for (let l = 1; `${prefix}/W_${l}` in arrays; l++)
    layers.push({ W: arrays[`${prefix}/W_${l}`], b: arrays[`${prefix}/b_${l}`] ?? null });
  const alpha = arrays[`${prefix}/alpha`];
  const softplus = (z) => (Math.max(alpha * z, 0) + Math.log1p(Math.exp(-Math.abs(alpha * z)))) / alpha;
  return arrays[`${prefix}/activation`] === 0
    ? { layers, value: (z) => Math.max(z, 0), slope: (z) => (z > 0 ? 1 : 0), bend: () => 0 }
    : {
        layers,
        value: softplus,
        slope: (z) => 1 / (1 + Math.exp(-alpha * z)),
        bend: (z) => alpha / (2 + Math.exp(-alpha * z) + Math.exp(alpha * z)),
      };
}

function forward(net, x) {
  const inputs = [x], zs = [];
  for (const { W, b } of net.layers) {
    zs.push(W.map((row, k) => dot(row, inputs.at(-1)) + (b ? b[k] : 0)));
    inputs.push(zs.at(-1).map(net.value));
  }
  return { inputs, zs, phi: zs.at(-1)[0] };
}

// δ_l of one sample, and W_{l+1}ᵀ δ_{l+1} before the slope
function backward(net, zs) {
  const deltas = [[1]], pulled = [];
  for (let l = net.layers.length - 1; l > 0; l--) {
    pulled.unshift(transposed(net.layers[l].W).map((column) => dot(column, deltas[0])));
    deltas.unshift(pulled[0].map((p, k) => p * net.slope(zs[l - 1][k])));
  }
  return { deltas, pulled };
}

const flat = (layers) => layers.flatMap(({ W, b }) => [...W.flat(), ...(b ?? [])]);

function gradient(net, x) {
  const { inputs, zs } = forward(net, x), { deltas } = backward(net, zs);
  return net.layers.map(({ b }, l) => ({
    W: deltas[l].map((d) => inputs[l].map((a) => d * a)),
    b: b && deltas[l],
  }));
}

function residual(net, x, weights) {
  const total = flat(net.layers);
  x.forEach((row, i) => flat(gradient(net, row)).forEach((g, k) => (total[k] -= weights[i] * g)));
  return total;
}

function shaped(net, theta) {
  let place = 0;
  const next = (length) => theta.slice(place, (place += length));
  return net.layers.map(({ W, b }) => ({
    W: W.map((row) => next(row.length)),
    b: b && next(b.length),
  }));
}

// S(x) = ⟨r, ∇θΦ(x)⟩ by a tangent pass, and its gradient in x by a reverse pass
function directional(net, r, x) {
  const { inputs, zs } = forward(net, x), { deltas, pulled } = backward(net, zs);
  const tangents = [];
  net.layers.forEach(({ W }, l) => {
    const before = l ? tangents[l - 1].map((t, k) => t * net.slope(zs[l - 1][k])) : null;
    tangents.push(W.map((row, k) =>
      dot(r[l].W[k], inputs[l]) + (r[l].b ? r[l].b[k] : 0) + (before ? dot(row, before) : 0)));
  });
  let zBar = [0], xBar = null;
  for (let l = net.layers.length - 1; l >= 0; l--) {
    const Wt = transposed(net.layers[l].W), rt = transposed(r[l].W);
    xBar = Wt.map((column, j) => dot(column, zBar) + dot(rt[j], deltas[l]));
    if (l) zBar = xBar.map((a, k) => a * net.slope(zs[l - 1][k])
      + net.bend(zs[l - 1][k]) * tangents[l - 1][k] * pulled[l - 1][k]);
  }
  return { S: tangents.at(-1)[0], gradient: xBar };
}

function ssim(a, b) {
  const line = Array.from({ length: 11 }, (_, k) => Math.exp(-0.5 * ((k - 5) / 1.5) ** 2));
  const size = sum(line), found = [];
  a.forEach((channel, c) => {
    const mean = (f, i, j) => sum(line.map((u, p) => sum(line.map((v, q) =>
      u * v * f(channel[i + p][j + q], b[c][i + p][j + q]))))) / size ** 2;
    for (let i = 0; i + 11 <= channel.length; i++)
      for (let j = 0; j + 11 <= channel[0].length; j++) {
        const ma = mean((s) => s, i, j), mb = mean((s, t) => t, i, j);
        const both = mean((s, t) => s * t, i, j) - ma * mb;
        const vars = mean((s, t) => s * s + t * t, i, j) - ma * ma - mb * mb;
        found.push(((2 * ma * mb + 1e-4) * (2 * both + 9e-4))
          / ((ma * ma + mb * mb + 1e-4) * (vars + 9e-4)));
      }
  });
  return sum(found) / found.length;
}

const answers = {};
for (const prefix of new Set(Object.keys(arrays).map((name) => name.split("/", 2).join("/")))) {
  const [family, name] = prefix.split("/");
  const of = (key) => arrays[`${prefix}/${key}`];
  if (family === "images") answers[`ssim/${name}/ssim`] = ssim(of("a"), of("b"));
  if (family !== "two_classes" || of("activation") === 1) continue;
  const net = network(prefix), x = of("x"), y = of("y"), lam = of("multipliers"), q = of("margin");
  const outputs = x.map((row) => forward(net, row).phi);
  const r = residual(net, x, lam.map((v, i) => v * y[i])), theta = flat(net.layers);
  const slopes = x.map((row) => directional(net, shaped(net, r), row));
  const slack = lam.map((v, i) => Math.abs(v * (y[i] * outputs[i] - q)));
  const mass = q * sum(lam.map(Math.abs));
  answers[`outputs/${name}/outputs`] = outputs;
  answers[`per_sample_gradients/${name}/per_sample_gradients`] = x.map((row) => flat(gradient(net, row)));
  answers[`stationarity_residual/${name}/residual`] = r;
  answers[`stationarity/${name}/value`] = dot(r, r);
  answers[`stationarity/${name}/grad_x`] = slopes.map((s, i) => s.gradient.map((g) => -2 * lam[i] * y[i] * g));
  answers[`stationarity/${name}/grad_multipliers`] = slopes.map((s, i) => -2 * y[i] * s.S);
  const conditions = {
    stationarity: Math.sqrt(dot(r, r) / dot(theta, theta)),
    primal_feasibility: Math.max(0, ...outputs.map((phi, i) => q - y[i] * phi)) / q,
    dual_feasibility: Math.max(0, ...lam.map((v) => -v)),
    complementary_slackness: mass > 0 ? sum(slack) / mass : 0,
  };
  for (const part in conditions) answers[`kkt_conditions/${name}/${part}`] = conditions[part];
  if (of("step") === undefined) continue;
  const pull = outputs.map((phi, i) => -y[i] / (1 + Math.exp(y[i] * phi)) / x.length);
  const down = residual(net, x, pull.map((c) => c * of("step")));
  answers[`training_step/${name}/theta`] = down;
}
writeFileSync(answersFile, JSON.stringify({ format, seed, dtype, arrays: answers }));
