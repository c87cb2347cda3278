"""A type checker accepts good calls of the attacks and refuses bad ones."""

import pytest

GOOD = """
import numpy as np
import numpy.typing as npt
import kkt_ref
from kkt_ref.attacks import Reconstruction, published_loss, reconstruct_paper
from kkt_ref.conformance import Implementation, Result, parametrize_with_checks

def watch(stage: str, run: int, x: object, multipliers: object) -> None:
    print(stage, run)

def use(net: kkt_ref.MLP) -> list[Reconstruction]:
    found = [kkt_ref.reconstruct(net, m=7, seed=3, restarts=2, callback=watch)]
    found.append(kkt_ref.attacks.reconstruct_plane(net, box=(-1, 1), step=0.1, callback=watch))
    found.append(kkt_ref.attacks.reconstruct_first_layer(net, restarts=2))
    found.append(reconstruct_paper(net, 7, seed=3, box=(-1, 1), alpha=2.0))
    best = found[0].of_run(found[0].best)
    loss = published_loss(net, best.candidates, best.labels, best.multipliers, lambda_min=0.5)
    print(loss.value + best.runs[0].residual, best.runs[0].stop_reason.upper())
    return found

class Mine(Implementation):
    def outputs(self, net: kkt_ref.MLP, x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return x[:, 0]

class Other:
    def ssim(self, a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
        return 1.0

@parametrize_with_checks([Mine(), Other()], expected_failures={"outputs: plain": "not yet"})
def test_mine(implementation: object, check: object) -> None: ...

def check(mine: Implementation) -> list[Result]:
    return kkt_ref.check_implementation(mine) + kkt_ref.check_implementation(Other())
"""
BAD = {
    "kkt_ref.reconstruct(net, candidates=7)": "call-arg",
    "kkt_ref.reconstruct(net, callback=lambda x: None)": "arg-type",
    'kkt_ref.attacks.reconstruct_paper(net, "seven")': "arg-type",
}


def check(code, folder):
    """Mypy's output for a script, and its exit status."""
    api = pytest.importorskip("mypy.api", reason="needs the extra peers")
    (folder / "script.py").write_text(code)
    cache = ["--cache-dir", str(folder / "cache")]
    output, errors, status = api.run(["--strict", *cache, str(folder / "script.py")])
    return output + errors, status


@pytest.mark.slow
def test_good_calls_pass_and_bad_ones_are_refused(tmp_path):
    output, status = check(GOOD, tmp_path)
    assert status == 0, output
    lines = ["import kkt_ref", "def use(net: kkt_ref.MLP) -> None:", *(f"    {bad}" for bad in BAD)]
    output, status = check("\n".join(lines), tmp_path)
    assert status == 1
    for number, code in enumerate(BAD.values(), start=3):
        errors = [line for line in output.splitlines() if f"script.py:{number}: error" in line]
        assert any(f"[{code}]" in error for error in errors), output
