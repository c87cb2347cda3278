// Act 3: one candidate, moved by hand; all numbers are computed here, from the weights.
import { runs } from "./attacks.js";
import { bestMultipliers, lossAndGradient, network, onSmallest, report } from "./kkt.mjs";
import { Plane, className } from "./plane.js";
import { $, K, data, labels, points, q, trained } from "./shared.js";

const show = (v) => (v === 0 || Math.abs(v) >= 0.001 ? v.toFixed(3) : v.toExponential(1));
const coordinates = ({ x }) => x.map((v) => v.toFixed(2).replace("-", "−")).join(", ");
const inside = (v) => Math.min(data.limit, Math.max(-data.limit, v));
const smoothed = network(data.widths, trained.theta, { alpha: data.alpha });
const SETS = {
  "the training points": points.map((x, i) => ({ x, y: labels[i], lam: [data.multipliers[i]].flat() })),
  ...(runs.full && { "found by all four conditions": runs.full.frames.at(-1) }),
  "found by the published attack": runs.paper.frames.at(-1),
};
for (const name of Object.keys(SETS)) $("set3").add(new Option(name));
const BARS = [
  ["stationarity", "Stationarity", (r) => r.stationarity],
  ...trained.layers.map((_, l) => [`layer${l + 1}`, `in layer ${l + 1}`, (r) => r.byLayer[l]]),
  ["primal", "Primal feasibility", (r) => r.primalFeasibility],
  ["dual", "Dual feasibility", (r) => r.dualFeasibility / r.largest],
  ["slackness", "Compl. slackness", (r) => r.complementarySlackness],
];
for (const [id, text] of BARS) {
  $("bars").insertAdjacentHTML("beforeend", `
    <span class="${id.startsWith("layer") ? "part" : ""}">${text}</span>
    <div class="track"><div class="fill"></div><div class="mark"></div></div><output id="${id}"></output>`);
}
const plane3 = new Plane($("plane3"));
plane3.levels(trained, q, q);
plane3.showPoints(points);
let list, chosen, before, largest;
const currentNet = () => ($("gates").value === "hard" ? trained : smoothed);
const asSamples = () => ["x", "y", "lam"].map((name) => list.map((one) => one[name]));
const sum = (values) => values.reduce((a, b) => a + b, 0);

/** Give all candidates the λ that leave the smallest residual. */
function fit() {
  const [x, y] = asSamples();
  bestMultipliers(currentNet(), x, y).forEach((lam, i) => (list[i].lam = lam));
}

function act3() {
  const found = { ...report(currentNet(), ...asSamples(), q), largest };
  before ??= found;
  for (const [id, , value] of BARS) {
    const [fill, mark] = $(id).previousElementSibling.children;
    fill.style.width = `${Math.min(100, 100 * value(found))}%`;
    mark.style.left = `${Math.min(100, 100 * value(before))}%`;
    $(id).textContent = (value(found) > 1 ? "→ " : "") + show(value(found));
    $(id).dataset.value = value(found);
  }
  const one = list[chosen], multiplier = sum(one.lam);
  plane3.showCandidates(list.map((each) => ({ ...each, multiplier: sum(each.lam) })), K);
  [...plane3.candidates.children].forEach((made, i) => {
    made.classList.toggle("chosen", i === chosen);
    made.setAttribute("tabindex", i === chosen ? 0 : -1);
    made.setAttribute("role", "button");
    made.setAttribute("aria-label", `candidate ${i + 1} at ${coordinates(list[i])}`);
  });
  $("which").value = chosen + 1;
  $("where").textContent = `${className(one.y, K)} at (${coordinates(one)})`;
  $("where").dataset.candidate = JSON.stringify(one);
  $("lambda").value = multiplier;
  $("lambdaValue").textContent = show(multiplier);
}

function restart() {
  list = SETS[$("set3").value].map(({ x, y, multiplier, lam }) => ({ x, y, lam: lam ?? [multiplier] }));
  if (list[0].lam.length < K) fit(); // the attacks record one number for all wrong classes together
  [chosen, before] = [0, null];
  largest = Math.max(...list.map((one) => sum(one.lam)));
  $("which").max = list.length;
  [$("lambda").min, $("lambda").max] = [-largest, 2 * largest];
  act3();
}

function move(to) {
  list[chosen].x = to.map(inside);
  act3();
}

/** Gradient steps on the residual by the place of the chosen candidate, halved until they help. */
function slide(steps = 40) {
  const net = currentNet(), one = list[chosen];
  let { value, gradX } = lossAndGradient(net, ...asSamples());
  for (let length = 0.03; steps > 0 && length > 1e-6; steps--) {
    const g = gradX[chosen], size = Math.hypot(...g) || 1, old = one.x;
    one.x = old.map((v, k) => inside(v - (length * g[k]) / size));
    const next = lossAndGradient(net, ...asSamples());
    if (next.value < value) ({ value, gradX } = next);
    else [one.x, length] = [old, length / 2];
  }
  act3();
}

let drag = null;
plane3.candidates.addEventListener("pointerdown", (event) => {
  const made = event.target.closest("g[role]");
  chosen = [...plane3.candidates.children].indexOf(made);
  drag = { id: event.pointerId, at: [event.clientX, event.clientY], x: list[chosen].x };
  plane3.candidates.setPointerCapture(event.pointerId);
  act3();
  made.focus({ preventScroll: true });
  event.preventDefault();
});
plane3.candidates.addEventListener("pointermove", (event) => {
  if (drag?.id !== event.pointerId) return;
  const unit = (2 * data.limit) / plane3.svg.clientWidth;
  const [right, down] = [event.clientX - drag.at[0], event.clientY - drag.at[1]];
  move([drag.x[0] + right * unit, drag.x[1] - down * unit]);
});
for (const end of ["pointerup", "pointercancel"]) {
  plane3.candidates.addEventListener(end, () => { drag = null; });
}
plane3.candidates.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!way) return;
  event.preventDefault();
  move(list[chosen].x.map((v, k) => v + way[k] * (event.shiftKey ? 0.1 : 0.01)));
});
$("which").addEventListener("input", () => {
  const number = Math.round(Number($("which").value));
  if (number >= 1 && number <= list.length) { chosen = number - 1; act3(); }
});
$("lambda").addEventListener("input", () => {
  const one = list[chosen], whole = sum(one.lam), wanted = Number($("lambda").value);
  one.lam = whole ? one.lam.map((v) => (v * wanted) / whole) : onSmallest(trained, one.x, one.y, wanted);
  act3();
});
$("flip").addEventListener("click", () => {
  const one = list[chosen];
  one.y = K === 1 ? -one.y : (one.y + 1) % K;
  one.lam = onSmallest(trained, one.x, one.y, sum(one.lam));
  act3();
});
$("slide").addEventListener("click", () => slide());
$("fit").addEventListener("click", () => { fit(); act3(); });
$("reset").addEventListener("click", restart);
$("set3").addEventListener("change", restart);
$("gates").addEventListener("change", () => { before = null; act3(); });

restart();
