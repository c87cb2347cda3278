// The module of the toy's page: node page.mjs questions.json answers.json
// It answers all questions about networks with ReLU or smoothed gates but the training step.
import { readFileSync, writeFileSync } from "node:fs";
import * as kkt from "../../demos/toy_page/kkt.mjs";

const [, , questionsFile, answersFile] = process.argv;
const { format, seed, dtype, arrays } = JSON.parse(readFileSync(questionsFile, "utf8"));
const plain = (v) => (v instanceof Float64Array ? [...v] : v);
const answers = {};
for (const prefix of new Set(Object.keys(arrays).map((name) => name.split("/", 2).join("/")))) {
  const [family, name] = prefix.split("/");
  const of = (key) => arrays[`${prefix}/${key}`];
  if (family === "images" || of("activation") === 2) continue;
  const two = family === "two_classes", asked = two ? "" : "class_";
  const x = of("x"), y = of("y"), lam = two ? of("multipliers").map((v) => [v]) : of("multipliers");
  const widths = [x[0].length], theta = [], biases = [];
  for (let l = 1; `${prefix}/W_${l}` in arrays; l++) {
    widths.push(of(`W_${l}`).length);
    biases.push(of(`b_${l}`) !== undefined);
    theta.push(...of(`W_${l}`).flat(), ...(of(`b_${l}`) ?? []));
  }
  const alpha = of("activation") === 1 ? of("alpha") : null;
  const net = kkt.network(widths, Float64Array.from(theta), { alpha, biases });
  const outputs = x.map((row) => plain(kkt.forward(net, row).outputs));
  answers[`${asked}outputs/${name}/outputs`] = two ? outputs.flat() : outputs;
  const { value, gradX, gradLam } = kkt.lossAndGradient(net, x, y, lam);
  const slopes = gradLam.map(plain);
  const parts = {
    [`stationarity/${name}/value`]: value,
    [`stationarity/${name}/grad_x`]: gradX.map(plain),
    [`stationarity/${name}/grad_multipliers`]: two ? slopes.flat() : slopes,
  };
  if (of("margin") !== undefined) {
    const report = kkt.report(net, x, y, lam, of("margin"));
    parts[`kkt_conditions/${name}/stationarity`] = report.stationarity;
    parts[`kkt_conditions/${name}/primal_feasibility`] = report.primalFeasibility;
    parts[`kkt_conditions/${name}/dual_feasibility`] = report.dualFeasibility;
    parts[`kkt_conditions/${name}/complementary_slackness`] = report.complementarySlackness;
  }
  for (const part in parts) answers[asked + part] = parts[part];
  if (!two) continue;
  const rows = x.map((row) => plain(kkt.gradient(net, row, [1])));
  answers[`per_sample_gradients/${name}/per_sample_gradients`] = rows;
  answers[`stationarity_residual/${name}/residual`] = plain(kkt.residual(net, x, y, lam));
}
writeFileSync(answersFile, JSON.stringify({ format, seed, dtype, arrays: answers }));
