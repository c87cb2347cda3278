"""ROC figures against brute force and SciPy."""

import numpy as np
import scipy

from kkt_ref.metrics import roc, roc_curve, tpr_at


def scores(seed=0, n=40, m=300, shift=1.0, decimals=1):
    rng = np.random.default_rng(seed)  # rounded, so that there are ties
    return np.round(rng.normal(shift, 1, n), decimals), np.round(rng.normal(0, 1, m), decimals)


def test_area_and_p_values_are_counts_of_pairs():
    members, others = scores()
    result = roc(members, others)
    pairs = (members[:, None] > others) + 0.5 * (members[:, None] == others)
    assert np.isclose(result.auc, pairs.mean(), rtol=1e-12)
    by_count = [(1 + sum(other >= score for other in others)) / 301 for score in members]
    np.testing.assert_allclose(result.p_values, by_count, rtol=1e-12)
    assert result.resolution == 1 / 300


def test_curve_has_the_area_and_every_rate():
    members, others = scores()
    fpr, tpr = roc_curve(members, others)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.isclose(scipy.integrate.trapezoid(tpr, fpr), roc(members, others).auc, rtol=1e-12)
    for rate in (0.01, 0.05, 0.5):
        assert np.isclose(tpr_at(members, others, rate), tpr[fpr <= rate + 1e-12].max())


def test_no_rate_that_the_others_cannot_show():
    members, others = scores(m=999)
    result = roc(members, others)
    assert result.tpr0001 is None and result.tpr001 == tpr_at(members, others, 0.01)
    assert roc(*scores(m=99)).tpr001 is None
    assert roc(*scores(m=1000)).tpr0001 is not None
    # a threshold may not pass a tie: FPR would be 1
    assert tpr_at(np.array([0.0, 1.0]), np.zeros(100), 0.01) == 0.5


def test_interval_is_delongs_on_the_logit():
    members, others = scores(n=12, m=20)
    wins = (members[:, None] > others) + 0.5 * (members[:, None] == others)  # (12, 20)
    variance = wins.mean(axis=1).var(ddof=1) / 12 + wins.mean(axis=0).var(ddof=1) / 20
    half = 1.959963984540054 * np.sqrt(variance) / (wins.mean() * (1 - wins.mean()))
    expected = scipy.special.expit(scipy.special.logit(wins.mean()) + np.array([-half, half]))
    np.testing.assert_allclose(roc(members, others).auc_interval, expected, rtol=1e-9)
    assert roc(np.arange(5.0) + 10, np.arange(9.0)).auc_interval == (0.4, 1.0)  # separated


def test_p_of_all_is_valid_and_sees_a_few_members():
    by_chance = [roc(*scores(seed, n=100, m=200, shift=0.0)).p_all for seed in range(300)]
    assert np.mean(np.array(by_chance) < 0.05) < 0.08
    members, others = scores(n=500, shift=0.3)  # a small difference of all
    area = scipy.stats.mannwhitneyu(members, others, alternative="greater", method="asymptotic")
    assert np.isclose(roc(members, others).p_all, 2 * area.pvalue, rtol=1e-12)
    rng = np.random.default_rng(0)
    members, others = rng.normal(size=500), rng.normal(size=500)
    members[:26] += 4.0
    assert roc(members, others).p_all < 1e-3
    assert scipy.stats.mannwhitneyu(members, others, alternative="greater").pvalue > 0.01
