// What the three acts share: the data of the page, its words, and a player for sliders.
import { margins, network } from "./kkt.mjs";
import { className, classOf } from "./plane.js";

export const $ = (id) => document.getElementById(id);
export const data = JSON.parse($("data").textContent);
export const numbers = (text, Kind) => new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
export const trained = network(data.widths, numbers(data.theta, Float64Array));
export const { x: points, y: labels, K } = data;
export const smallest = (net, x, y) => Math.min(...margins(net, x, y));
export const trainMargins = (net) => points.map((x, i) => smallest(net, x, labels[i]));
export const q = Math.min(...trainMargins(trained));
export const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

const words = {
  classes: ["", "", "two classes", "three classes"][Math.max(2, K)] ?? `${K} classes`,
  n: points.length,
  equation: K === 1 ? "θ = Σ λ<sub>i</sub> y<sub>i</sub> ∇Φ(x<sub>i</sub>), &nbsp; λ<sub>i</sub> ≥ 0"
    : "θ = Σ λ<sub>ij</sub> ∇(Φ<sub>y</sub> − Φ<sub>j</sub>)(x<sub>i</sub>), &nbsp; λ<sub>ij</sub> ≥ 0",
  signs: [...new Set(labels)].map((y) => className(y, K)).join(", "),
};
for (const span of document.querySelectorAll("[data-text]")) span.innerHTML = words[span.dataset.text];
for (const stage of document.querySelectorAll(".stage")) {
  const classes = [...new Set(labels)].map((y) => `<b class="class${classOf(y, K)}">${className(y, K)}</b>`);
  const own = stage.id === "plane1" ? [`colour: the class that wins (${classes.join(", ")})`, "thin line: kink"]
    : [`${classes.join(", ")} candidate, larger for a larger λ, hollow for λ &lt; 0`];
  const legend = document.createElement("p");
  legend.className = "legend";
  legend.innerHTML = ["○ training point", ...own, "thick line: margin", "dotted line: border between classes"].join(" · ");
  stage.after(legend);
}

/** Move a slider to its end in some seconds, unless the reader prefers no motion. */
export function play(slider, seconds = 6) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const begin = performance.now(), ticket = (slider.ticket = {});
  const set = (value) => {
    if (Number(slider.value) === value) return;
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
  };
  const tick = (now) => {
    if (slider.ticket !== ticket) return;
    const share = still ? 1 : Math.min(1, Math.max(0, now - begin) / 1000 / seconds);
    set(Math.round(share * slider.max));
    if (share < 1) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}
for (const type of ["pointerdown", "keydown"]) {
  document.addEventListener(type, (event) => { if (event.target.type === "range") event.target.ticket = null; });
}
