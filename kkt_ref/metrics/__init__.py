"""Scores of reconstructions.

Read in this order: ``ncc`` (correlation of images), ``ssim`` (structural similarity), ``matching``
(one candidate for each image or point), ``scores`` (counts and means, beside the same numbers for
images that the network never saw), ``roc`` (how well a score tells members from others).
"""

from kkt_ref.metrics.matching import Matching, PointMatches, match_one_to_one, match_points
from kkt_ref.metrics.ncc import ncc_all_pairs, unit_images
from kkt_ref.metrics.roc import ROC, roc, roc_curve, tpr_at
from kkt_ref.metrics.scores import ImageScores, Scores, Shape, score_candidates, stretch
from kkt_ref.metrics.ssim import HAIM, WANG, SSIMSettings, structural_similarity

__all__ = [
    "HAIM",
    "ROC",
    "WANG",
    "ImageScores",
    "Matching",
    "PointMatches",
    "SSIMSettings",
    "Scores",
    "Shape",
    "match_one_to_one",
    "match_points",
    "ncc_all_pairs",
    "roc",
    "roc_curve",
    "score_candidates",
    "stretch",
    "structural_similarity",
    "tpr_at",
    "unit_images",
]
