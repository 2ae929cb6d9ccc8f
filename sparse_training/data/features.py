"""Features of instances, for configurators: named and defined as OpenML's qualities."""

import numpy as np
from numpy.typing import NDArray

from sparse_training.data.instances import opened
from sparse_training.data.stored import Stored


def features(instance: str) -> dict[str, float]:
    """Features of the instance for configurators, named and defined as OpenML's qualities.

    The first ones describe the data set, all its rows, as OpenML states them: the target counts as
    a feature, and a nominal feature is binary if two categories occur. `NumberOfInputs` is the
    suite's own: columns after encoding. The last five describe the training part: means over the
    numeric features of their mean, standard deviation, skewness and excess kurtosis (population
    moments of the values that are there, before standardisation; 0 for a constant feature, and
    where there is no numeric one), and the entropy of the classes in bits. 6 decimals, so that
    every machine writes the same text. Raises BadInput as `load` does.
    """
    data, said = opened(instance)
    rows, _ = said.form.rows(data, said.fold)
    features = _shape_of(data) | _moments_of(data.numeric[rows], data.labels[rows])
    return {name: round(float(value), 6) for name, value in features.items()}


def _shape_of(data: Stored) -> dict[str, float]:
    count, numeric = data.numeric.shape
    categories = np.diff(data.groups)
    columns = numeric + len(categories) + 1
    classes = np.bincount(data.labels, minlength=len(data.about.classes))
    gaps = np.isnan(data.numeric) if data.numeric.dtype != np.uint8 else np.zeros((count, 0), bool)
    incomplete = np.asarray(gaps.any(axis=1))
    incomplete[data.missing[:, 0]] = True
    missing = gaps.sum() + len(data.missing)
    return {
        "NumberOfInstances": count,
        "NumberOfFeatures": columns,
        "NumberOfClasses": len(classes),
        "NumberOfNumericFeatures": numeric,
        "NumberOfSymbolicFeatures": len(categories) + 1,
        "NumberOfBinaryFeatures": (categories == 2).sum() + (len(classes) == 2),
        "NumberOfMissingValues": missing,
        "NumberOfInstancesWithMissingValues": incomplete.sum(),
        "PercentageOfMissingValues": 100 * missing / (count * columns),
        "MajorityClassPercentage": 100 * classes.max() / count,
        "MinorityClassPercentage": 100 * classes.min() / count,
        "Dimensionality": columns / count,
        "NumberOfInputs": data.inputs,
    }


def _moments_of(values: NDArray[np.generic], labels: NDArray[np.integer]) -> dict[str, float]:
    # A few columns at a time: images in double precision would not fit into every memory.
    parts = [
        _column_moments(values[:, first : first + 64]) for first in range(0, values.shape[1], 64)
    ]
    mean = {
        name: _mean(np.concatenate([part[name] for part in parts])) if parts else 0.0
        for name in _MOMENTS
    }
    frequency = np.bincount(labels) / len(labels)
    frequency = frequency[frequency > 0]
    return {**mean, "ClassEntropy": -(frequency * np.log2(frequency)).sum()}


_MOMENTS = (
    "MeanMeansOfNumericAtts",
    "MeanStdDevOfNumericAtts",
    "MeanSkewnessOfNumericAtts",
    "MeanKurtosisOfNumericAtts",
)


def _column_moments(values: NDArray[np.generic]) -> dict[str, NDArray[np.float64]]:
    wide = values.astype(np.float64)
    there = ~np.isnan(wide)
    scale = _scale(np.where(there, wide, 0.0))
    wide /= scale
    counts = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, wide, 0.0).sum(axis=0) / counts
    centred = np.where(there, wide - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=0) / counts)
    varied = deviation > 0
    scaled = np.divide(centred, deviation, out=np.zeros_like(centred), where=varied)
    skewness = (scaled**3).sum(axis=0) / counts
    kurtosis = np.where(varied, (scaled**4).sum(axis=0) / counts - 3.0, 0.0)
    moments = (mean * scale, deviation * scale, skewness, kurtosis)
    return dict(zip(_MOMENTS, moments, strict=True))


def _mean(values: NDArray[np.float64]) -> float:
    scale = _scale(values)
    return float((values / scale).mean() * scale)


def _scale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A power of two for each column, by which values are divided whose squares would overflow."""
    _, exponent = np.frexp(np.abs(values).max(axis=0, initial=0.0))
    return np.ldexp(1.0, np.where(exponent > 400, exponent - 1, 0))
