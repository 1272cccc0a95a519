"""The figure of a search."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from fastgmm import MixtureSearch
from fastgmm.estimators.mixture_search import PARSIMONIOUS
from fastgmm.plotting import CriterionDisplay
from tests import mclust


def test_a_line_for_each_structure_and_the_best_marked():
    search = MixtureSearch(range(1, 5)).fit(mclust.rows("iris"))
    display = CriterionDisplay.from_estimator(search)
    assert [line.get_label() for line in display.lines_] == list(
        dict.fromkeys(search.results_["covariance_type"])
    )
    for line in display.lines_:
        own = search.results_["covariance_type"] == line.get_label()
        np.testing.assert_array_equal(line.get_ydata(), -search.results_["bic"][own])
    assert display.ax_.get_ylabel() == "−BIC"
    assert any("VEV, 2" in text.get_text() for text in display.ax_.texts)
    assert display.figure_ is display.ax_.figure


def test_models_of_factor_analyzers_have_a_line_for_each_number_of_factors():
    options = {"structures": ["CCU", "EEE"], "n_factors": 1, "reg_covar": 1e-3}
    search = MixtureSearch([1, 2], **options).fit(mclust.rows("iris"))
    lines = CriterionDisplay.from_estimator(search).lines_
    assert [line.get_label() for line in lines] == ["CCU, q=1", "EEE"]


def test_held_out_likelihood_keeps_its_sign_and_axes_can_be_given():
    search = MixtureSearch(
        [1, 2], structures=["VVV"], criterion="log_likelihood", cv=3, random_state=0
    ).fit(mclust.rows("faithful"))
    _, ax = plt.subplots()
    display = CriterionDisplay.from_estimator(search, ax=ax)
    assert display.ax_ is ax
    np.testing.assert_array_equal(
        display.lines_[0].get_ydata(), search.results_["held_out_log_likelihood"]
    )


def test_what_is_not_there_is_refused():
    with pytest.raises(NotFittedError):
        CriterionDisplay.from_estimator(MixtureSearch())
    search = MixtureSearch([1], structures=["VVV"]).fit(mclust.rows("iris"))
    with pytest.raises(ValueError, match=r"criterion must be one of \['bic', 'aic', 'icl'\]"):
        CriterionDisplay.from_estimator(search, criterion="held_out_log_likelihood")


def fourteen():
    rows = [(name, k, 100.0 + i - k) for i, name in enumerate(PARSIMONIOUS) for k in (1, 2, 3)]
    kinds, numbers, values = (np.array(column) for column in zip(*rows, strict=True))
    return {"covariance_type": kinds, "n_components": numbers, "bic": values}


def test_fourteen_lines_differ_and_each_has_its_name_beside_it():
    display = CriterionDisplay(fourteen()).plot()
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in display.lines_]
    assert len(set(looks)) == 14
    assert display.ax_.get_legend() is None
    names = [line.get_label() for line in display.lines_]
    labels = [text for text in display.ax_.texts if text.get_text() in names]
    assert [text.get_text() for text in labels] == names
    assert [text.get_color() for text in labels] == [look[0] for look in looks]
    display.figure_.canvas.draw()
    boxes = sorted(text.get_window_extent().intervaly.tolist() for text in labels)
    for (_, top), (bottom, _) in itertools.pairwise(boxes):
        assert bottom > top - 4.0  # names do not cover each other


def test_volume_is_the_style_of_a_line_and_the_family_its_color():
    lines = {line.get_label(): line for line in CriterionDisplay(fourteen()).plot().lines_}
    assert {name[0]: line.get_linestyle() for name, line in lines.items()} == {"E": "-", "V": "--"}
    for family in (["EII", "VII"], ["EEI", "VVI", "VEI"], ["EEE", "VVE"], ["EEV", "VVV"]):
        assert len({lines[name].get_color() for name in family}) == 1
