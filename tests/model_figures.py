"""Metrics of a version as a training writes them, for the pages that show them."""

from typing import Any

from features.definition import FEATURES

NAMES = {
    "accuracy": 0.812,
    "roc_auc": 0.862,
    "average_precision": 0.834,
    "log_loss": 0.446,
    "brier": 0.138,
    "ece": 0.031,
}
SLICES = ("Sex: female", "Sex: male", "Class: First", "Class: Second", "Class: Third", "Age: below 14", "Age: unknown")
WORST = "Class: Third"


def metrics(*, better: float = 0.0) -> dict[str, Any]:
    """Metrics as a version's row has them; `better` moves the accuracy."""
    return {
        "cross_validation": {
            "folds": 5, "repeats": 5, "rows": 1048, "grouped_by": "ticket",
            **{name: _mean(value + better) for name, value in NAMES.items()},
        },
        "ungrouped": {
            "folds": 5, "repeats": 2, "rows": 1048,
            **{name: {"mean": value + 0.02, "spread": 0.003} for name, value in NAMES.items()},
        },
        "hold_out": {
            "rows": 261, **NAMES,
            "intervals": {name: [max(0, value - 0.05), value + 0.05] for name, value in NAMES.items()},
            "confusion": {"true_negative": 140, "false_positive": 21, "false_negative": 30, "true_positive": 70},
        },
        "baseline": {"accuracy": 0.78},
        "inputs": {name: {"values": 9, "missing": 0.0} for name in FEATURES},
        "curves": {"cross_validation": curves(3.0 + 10 * better), "hold_out": curves(2.5)},
        "importance": [
            {"feature": name, "mean": 0.1 / (place + 1) - 0.01, "spread": 0.004} for place, name in enumerate(FEATURES)
        ],
        "slices": {"cross_validation": [_slice(name, 200) for name in SLICES], "hold_out": [_slice(SLICES[0], 12)]},
        "calibration": {"chosen": "sigmoid", "log_loss": {"none": 0.452, "sigmoid": 0.446}},
        "threshold": {
            "value": 0.5, "rule": "The default, for no other is better by more than its spread.",
            "x": [place / 20 for place in range(1, 20)],
            "y": [0.81 - (place / 20 - 0.5) ** 2 for place in range(1, 20)],
        },
        "search": {"candidates": 24, "seconds": 61.4, "trials": [_trial(place) for place in range(24)]},
    }  # fmt: skip


def curves(bend: float) -> dict[str, Any]:
    """ROC, precision-recall and calibration of a fair model, in many points."""
    x = [place / 200 for place in range(201)]
    bins = [place / 10 + 0.05 for place in range(10)]
    return {
        "roc": {"x": x, "y": [1 - (1 - share) ** bend for share in x]},
        "precision_recall": {"x": x, "y": [1 - 0.6 * share**bend for share in x]},
        "calibration": {"x": bins, "y": [min(1, predicted ** (bend / 3)) for predicted in bins], "count": [100] * 10},
    }


def _mean(value: float) -> dict[str, float]:
    return {"mean": value, "spread": 0.0042, "low": max(0, value - 0.02), "high": value + 0.02}


def _slice(name: str, rows: int) -> dict[str, Any]:
    log_loss = 0.61 if name == WORST else 0.3 + len(name) / 100
    figures = {"share": 0.4, "predicted": 0.42, "accuracy": 0.77, "log_loss": log_loss, "low": 0.7, "high": 0.83}
    return {"slice": name, "rows": rows, **figures}


def _trial(place: int) -> dict[str, Any]:
    parameters = {"max_depth": 3 + place % 6, "n_estimators": 200, "max_features": 0.5}
    return {"parameters": parameters, "log_loss": 0.446 + place / 1000, "spread": 0.003}
