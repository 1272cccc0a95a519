"""The results of today's version are those in the golden file."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.trust.golden import FILE, results

TOLERANCE = {"mixture single precision": 1e-4}
"""Relative to the largest value of an array; 1e-7 for all others: rounding, and EM that stopped."""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_results_are_those_in_the_golden_file():
    expected, found = json.loads(FILE.read_text()), results()
    assert found.keys() == expected.keys()
    for model, values in expected.items():
        assert found[model].keys() == values.keys()
        for name, value in values.items():
            now, before, what = np.array(found[model][name]), np.array(value), f"{model}: {name}"
            if before.dtype.kind == "i":
                assert_array_equal(now, before, what)
            else:
                scale = TOLERANCE.get(model, 1e-7) * np.abs(before).max()
                assert_allclose(now, before, rtol=0.0, atol=scale, err_msg=what)
