// The plane of the toy: level sets on a canvas, and kinks, points and candidates above it in SVG.
import { forward } from "./kkt.mjs";

const SVG = "http://www.w3.org/2000/svg";
const SIDE = 101; // points of the grid on which Φ is computed, in each direction
const PIXELS = 400;
export const LIMIT = 1.5;
// one shape and one colour for each class: triangle up, triangle down, square
const SHAPES = ["M0-.068L.062.046H-.062Z", "M0 .068L-.062-.046H.062Z", "M-.05-.05H.05V.05H-.05Z"];
const SIGNS = ["▲", "▼", "■"];

export const classOf = (y, K) => (K === 1 ? (y > 0 ? 0 : 1) : y);
export const className = (y, K) => `${SIGNS[classOf(y, K)]} ${K === 1 ? (y > 0 ? "+1" : "−1") : y}`;
/** One score for each class: the largest wins, by what it is above the next one. */
export const scoresOf = (outputs) =>
  outputs.length === 1 ? [outputs[0] / 2, -outputs[0] / 2] : outputs;

export function svg(tag, attributes = {}, parent = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

const place = (k) => -LIMIT + (2 * LIMIT * k) / (SIDE - 1);

/** The lines on which a function on the grid crosses a level, as an SVG path. */
function contour(values, level) {
  let path = "";
  for (let r = 0; r < SIDE - 1; r++) {
    for (let c = 0; c < SIDE - 1; c++) {
      const first = r * SIDE + c, above = values[first] > level;
      if (above === values[first + 1] > level && above === values[first + SIDE] > level
        && above === values[first + SIDE + 1] > level) continue;
      const corners = [[r, c], [r, c + 1], [r + 1, c + 1], [r + 1, c]];
      const v = corners.map(([i, j]) => values[i * SIDE + j] - level);
      const cuts = [];
      for (let k = 0; k < 4; k++) {
        const n = (k + 1) % 4;
        if (v[k] > 0 === v[n] > 0) continue;
        const t = v[k] / (v[k] - v[n]);
        const [i, j] = [0, 1].map((axis) => corners[k][axis] + t * (corners[n][axis] - corners[k][axis]));
        cuts.push(`${place(j).toFixed(4)} ${(-place(i)).toFixed(4)}`);
      }
      for (let k = 0; k + 1 < cuts.length; k += 2) path += `M${cuts[k]}L${cuts[k + 1]}`;
    }
  }
  return path;
}

export class Plane {
  constructor(host) {
    host.classList.add("plane");
    this.canvas = document.createElement("canvas");
    this.canvas.width = this.canvas.height = PIXELS;
    this.svg = svg("svg", { viewBox: `${-LIMIT} ${-LIMIT} ${2 * LIMIT} ${2 * LIMIT}` });
    host.append(this.canvas, this.svg);
    const group = (name) => svg("g", { class: name }, this.svg);
    this.kinks = group("kinks");
    this.boundary = svg("path", { class: "boundary" }, this.svg);
    this.margin = svg("path", { class: "margin" }, this.svg);
    this.points = group("points");
    this.candidates = group("candidates");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }

  /** Show the level sets of a network; colours change at each third of `unit`, the margin is q. */
  levels(net, unit, q) {
    const count = Math.max(2, net.K);
    const ahead = Array.from({ length: count }, () => new Float32Array(SIDE * SIDE));
    for (let r = 0, at = 0; r < SIDE; r++) {
      for (let c = 0; c < SIDE; c++, at++) {
        const scores = scoresOf(forward(net, [place(c), place(r)]).outputs);
        for (let k = 0; k < count; k++) {
          let other = -Infinity;
          for (let j = 0; j < count; j++) if (j !== k && scores[j] > other) other = scores[j];
          ahead[k][at] = (scores[k] - other) / unit;
        }
      }
    }
    this.boundary.setAttribute("d", ahead.map((f) => contour(f, 0)).join(""));
    this.margin.setAttribute("d", q > 0 ? ahead.map((f) => contour(f, q / unit)).join("") : "");
    this.ahead = ahead;
    this.paint();
  }

  /** Colour the pixels by class, darker where the network is surer of it. */
  paint() {
    if (!this.ahead) return;
    const style = getComputedStyle(document.documentElement);
    const colours = this.ahead.map((_, k) => style.getPropertyValue(`--class${k}`).trim().slice(1));
    const rgb = colours.map((hex) => [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16)));
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(PIXELS, PIXELS);
    for (let row = 0, at = 0; row < PIXELS; row++) {
      const v = ((PIXELS - 0.5 - row) / PIXELS) * (SIDE - 1), r = Math.min(Math.floor(v), SIDE - 2);
      for (let col = 0; col < PIXELS; col++, at += 4) {
        const u = ((col + 0.5) / PIXELS) * (SIDE - 1), c = Math.min(Math.floor(u), SIDE - 2);
        const s = v - r, t = u - c, k = r * SIDE + c;
        let best = 0, height = -Infinity;
        for (let one = 0; one < this.ahead.length; one++) {
          const f = this.ahead[one];
          const here = (1 - s) * ((1 - t) * f[k] + t * f[k + 1])
            + s * ((1 - t) * f[k + SIDE] + t * f[k + SIDE + 1]);
          if (here > height) { best = one; height = here; }
        }
        for (let part = 0; part < 3; part++) image.data[at + part] = rgb[best][part];
        image.data[at + 3] = 18 + 22 * Math.min(Math.floor(3 * Math.max(height, 0)), 6);
      }
    }
    context.putImageData(image, 0, 0);
  }

  /** Draw the line w·x + b = 0 of each neuron, stronger if it bends the output more. */
  showKinks(net) {
    const [{ W, b, rows }, next] = net.layers;
    const bends = Array.from({ length: rows }, (_, j) => {
      const out = Array.from({ length: next.rows }, (_, r) => next.W[r * rows + j]);
      return Math.hypot(...out) * Math.hypot(W[2 * j], W[2 * j + 1]);
    });
    const most = Math.max(...bends);
    while (this.kinks.childElementCount < rows) svg("line", {}, this.kinks);
    bends.forEach((bend, j) => {
      const size = Math.hypot(W[2 * j], W[2 * j + 1]) || 1;
      const [nx, ny, off] = [W[2 * j] / size, W[2 * j + 1] / size, b[j] / size];
      const line = this.kinks.children[j];
      const ends = { x1: -off * nx - 3 * ny, y1: -off * ny + 3 * nx, x2: -off * nx + 3 * ny, y2: -off * ny - 3 * nx };
      for (const [name, v] of Object.entries(ends)) line.setAttribute(name, name[0] === "y" ? -v : v);
      line.setAttribute("stroke-opacity", (0.08 + 0.6 * (bend / most)).toFixed(3));
    });
  }

  showPoints(x) {
    this.points.replaceChildren();
    for (const [cx, cy] of x) svg("circle", { cx, cy: -cy, r: 0.095 }, this.points);
  }

  /** Draw candidates {x, y, multiplier, gone}; their area grows with the multiplier. */
  showCandidates(list, K, small = false) {
    while (this.candidates.childElementCount < list.length) {
      const made = svg("g", {}, this.candidates);
      svg("circle", { r: 0.11, class: "touch" }, made);
      svg("path", {}, made);
    }
    while (this.candidates.childElementCount > list.length) this.candidates.lastChild.remove();
    const most = Math.max(...list.map((one) => Math.abs(one.multiplier)), 1e-300);
    list.forEach((one, i) => {
      const made = this.candidates.children[i], path = made.lastChild;
      const size = (small ? 0.55 : 1) * Math.sqrt(0.25 + 0.75 * (Math.abs(one.multiplier) / most));
      made.setAttribute("transform", `translate(${one.x[0]} ${-one.x[1]})`);
      path.setAttribute("d", SHAPES[classOf(one.y, K)]);
      path.setAttribute("transform", `scale(${size.toFixed(3)})`);
      made.setAttribute("class", `class${classOf(one.y, K)}${one.multiplier < 0 ? " negative" : ""}`);
      made.classList.toggle("gone", Boolean(one.gone));
    });
  }
}
