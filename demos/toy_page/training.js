// Act 1: the output, its margin and the kinks of the first layer during training.
import { network } from "./kkt.mjs";
import { Plane, svg } from "./plane.js";
import { $, data, distance, numbers, play, points, trainMargins } from "./shared.js";

const snapshots = data.training.map((one) => (
  { ...one, net: network(data.widths, numbers(one.theta, Float32Array)) }));
const elsewhere = [];
const reach = Math.max(...points.map((x) => Math.hypot(...x)));
for (let a = -1; a <= 1; a += 0.1) {
  for (let b = -1; b <= 1; b += 0.1) {
    const x = [a * reach, b * reach];
    if (Math.hypot(a, b) <= 1 && points.every((p) => distance(p, x) > 0.1)) elsewhere.push(x);
  }
}

/** The mean number of kinks of the first layer within 0.02 of some places. */
function kinksNear(net, places) {
  const [{ W, b, rows }] = net.layers;
  let count = 0;
  for (const x of places) {
    for (let j = 0; j < rows; j++) {
      const w = [W[2 * j], W[2 * j + 1]];
      count += Math.abs(w[0] * x[0] + w[1] * x[1] + b[j]) <= 0.02 * Math.hypot(...w);
    }
  }
  return count / places.length;
}

const counts = snapshots.map(({ net }) => [kinksNear(net, points), kinksNear(net, elsewhere)]);
const top = Math.max(...counts.flat());
const across = (k) => 30 + (360 * k) / (snapshots.length - 1), up = (v) => 130 - (115 * v) / top;
svg("path", { class: "axis", d: "M30 8V130H392" }, $("chart"));
for (const [k, name] of ["at", "other"].entries()) {
  svg("path", { class: name, d: `M${counts.map((c, i) => `${across(i)} ${up(c[k])}`).join("L")}` }, $("chart"));
}
const now = svg("line", { class: "now", y1: 8, y2: 130 }, $("chart"));
const LABELS = [
  ["of a training point", 200, up(counts.at(-1)[0]) + 22],
  ["of any other point (dashed)", 200, up(counts.at(-1)[1]) - 8],
  ["start", 30, 146],
  ["end", 370, 146],
  [top.toFixed(0), 6, up(top) + 8],
  ["0", 14, 132],
];
for (const [text, x, y] of LABELS) svg("text", { x, y }, $("chart")).textContent = text;

const plane1 = new Plane($("plane1"));
plane1.showPoints(points);
$("time").max = snapshots.length - 1;
$("time").addEventListener("input", () => {
  const at = Number($("time").value), { net, step, logLoss, norm } = snapshots[at];
  const u = trainMargins(net), low = Math.min(...u);
  plane1.levels(net, Math.max(low, 0.5 * Math.max(...u)), low);
  plane1.showKinks(net);
  $("step").textContent = `step ${step.toLocaleString("en")}`;
  $("time").setAttribute("aria-valuetext", `step ${step}`);
  $("loss").innerHTML = `10<sup>${(logLoss / Math.LN10).toFixed(1).replace("-", "−")}</sup>`;
  $("q").textContent = low > 0 ? low.toFixed(2) : "none yet";
  const degree = data.widths.length - 1; // Φ(cθ; x) = c^degree Φ(θ; x)
  $("normalised").textContent = low > 0 ? (low / norm ** degree).toFixed(5) : "none yet";
  for (const end of ["x1", "x2"]) now.setAttribute(end, across(at));
  const wrong = u.filter((v) => v <= 0).length;
  const sides = wrong ? `${wrong} of ${u.length} points are still on the wrong side.` : "All points are on their right side.";
  $("verdict1").textContent = `${sides} `
    + `${counts[at][0].toFixed(1)} kinks are near a training point, ${counts[at][1].toFixed(1)} near any other point.`;
});
$("play1").addEventListener("click", () => play($("time")));
$("time").dispatchEvent(new Event("input"));
