// Act 2: recorded runs of the attacks, and which candidates the conditions leave.
import { forward } from "./kkt.mjs";
import { Plane, scoresOf } from "./plane.js";
import { $, K, data, distance, numbers, play, points, q, smallest, trained } from "./shared.js";

export const runs = {};
for (const [name, run] of Object.entries(data.runs)) {
  const flat = numbers(run.frames, Float32Array);
  let at = 0;
  const frames = run.counts.map((count) => Array.from({ length: count }, (_, i) => {
    const [a, b, weight] = flat.subarray(at, (at += 3));
    const scores = scoresOf(forward(trained, [a, b]).outputs);
    const winner = scores.indexOf(Math.max(...scores)), own = K === 1 ? 1 - 2 * winner : winner;
    const y = name === "paper" ? run.labels[i] : own; // that attack has given its labels in advance
    return { x: [a, b], y, multiplier: name === "signed" ? weight * y : weight };
  }));
  runs[name] = { frames, stages: run.stages };
}
const STAGES = {
  grid: "points where kinks cross, and a grid, with λ > 0",
  local: "a finer grid around them",
  merged: "neighbours are merged",
  removed: "a superfluous candidate is removed",
  end: "the end",
};
const TOLERANCE = 0.2; // of the margin, within which a candidate counts as on it
const boxes = ["S", "D", "P", "C"].map((name) => $(`use${name}`));
const plane2 = new Plane($("plane2"));
plane2.levels(trained, q, q);
plane2.showPoints(points);
if (!runs.signed) { $("useD").checked = true; $("useD").disabled = true; } // recorded for two classes only

function act2() {
  const [S, D, P, C] = boxes.map((box) => box.checked);
  const all = S && D && P && C && runs.full;
  const name = all ? "full" : D || !runs.signed ? "paper" : "signed";
  const { frames, stages } = runs[name];
  const last = S ? frames.length - 1 : 0, slider = $("progress");
  slider.max = last;
  slider.disabled = $("play2").disabled = last === 0;
  const at = Math.min(Number(slider.value), last);
  const list = frames[at].map((one) => {
    const u = smallest(trained, one.x, one.y) / q;
    const breaks = (D && one.multiplier < 0) || (P && u < 1 - TOLERANCE)
      || (C && one.multiplier !== 0 && Math.abs(u - 1) > TOLERANCE);
    return { ...one, gone: !all && at === last && breaks }; // these runs did not use P and C
  });
  plane2.showCandidates(list, K, list.length > 60);
  const left = list.filter((one) => !one.gone), near = (a, b) => distance(a, b) <= data.match;
  const found = points.filter((x) => left.some((one) => near(one.x, x))).length;
  const strays = left.filter((one) => !points.some((x) => near(one.x, x))).length;
  $("verdict2").textContent = `${found} of ${points.length} points found, ${strays} strays`;
  $("verdict2").dataset.found = found;
  $("verdict2").dataset.strays = strays;
  const removed = list.length - left.length;
  let [stage, what] = [`${Math.round((100 * at) / last)}% of its way`, ""];
  if (!S) {
    stage = "not begun";
    what = "Without stationarity there is nothing to search for: these are random starts.";
  } else if (all) {
    stage = `${at + 1} of ${last + 1}: ${STAGES[stages[at]]}`;
    what = "All four conditions are used in the search itself. This is the attack that kkt_ref recommends; "
      + "it needs no random start.";
  } else {
    what = D ? "This is the published attack, its run with the smallest loss: it searches for candidates "
      + "with λ ≥ 0 that satisfy stationarity."
      : "The search uses stationarity alone, and λ may have any sign. A hollow candidate has λ < 0.";
    if (!P && !C) what += " Many wrong sets of points satisfy it as well as the true one does.";
    else if (at < last) what += " What breaks the other conditions is removed at its end.";
    else what += ` ${removed} candidates break a condition by more than ${100 * TOLERANCE}% of q, and are removed.`;
  }
  $("stage2").textContent = stage;
  $("what2").textContent = what;
  return name;
}
for (const box of boxes) {
  box.addEventListener("change", () => {
    const before = boxes.run;
    boxes.run = ($("useS").checked ? "moving " : "") + act2();
    if (boxes.run === before || !$("useS").checked) return;
    $("progress").value = 0;
    act2();
    play($("progress"), 5);
  });
}
$("progress").addEventListener("input", act2);
$("play2").addEventListener("click", () => play($("progress"), 5));

boxes.run = act2();
