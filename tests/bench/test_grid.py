import pytest

from fastgmm.bench.grid import (
    FULL_GRID,
    QUICK_MIN_SAMPLES,
    Case,
    quick_grid,
    select,
    short_count,
)


@pytest.mark.parametrize(
    ("case", "flops"),
    [
        (Case("pass", "full", 10, 3, 2), 2 * 10 * 2 * 3 * 4),
        (Case("pass", "full", 1_000_000, 8, 16), 2_304_000_000),
        (Case("pass", "diag", 10, 3, 2), 8 * 10 * 2 * 3),
        (Case("scoring", "full", 10, 3, 2), 10 * 2 * 3 * 4),
        (Case("scoring", "diag", 10, 3, 2), 4 * 10 * 2 * 3),
        (Case("k-means", "diag", 10, 3, 2), 2 * 10 * 2 * 3),
        (Case("fit", "full", 10, 3, 2), 0),
    ],
)
def test_useful_operations(case, flops):
    assert case.flops == flops


def test_flops_do_not_depend_on_how_the_data_lies():
    case = Case("pass", "full", 10, 3, 2)
    assert case.flops == Case("pass", "full", 10, 3, 2, "float32", "separated", 7).flops


def test_identifiers_are_unique_and_readable():
    identifiers = [case.identifier for case in FULL_GRID]
    assert len(set(identifiers)) == len(identifiers)
    assert "pass/full/1Mx8/K16/float64" in identifiers
    assert "pass/full/1Mx8/K16/float64/separated" in identifiers
    assert "k-means/1Mx8/K16/float64" in identifiers


@pytest.mark.parametrize(
    ("count", "text"), [(2_000_000, "2M"), (500_000, "500k"), (1_234, "1234"), (999, "999")]
)
def test_short_count(count, text):
    assert short_count(count) == text


def test_quick_grid_is_small_and_has_every_kind_of_task():
    cases = quick_grid()
    assert {case.task for case in cases} == {case.task for case in FULL_GRID}
    assert {case.dtype for case in cases} == {"float64", "float32"}
    assert all(QUICK_MIN_SAMPLES <= case.n_samples <= 500_000 for case in cases)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["scoring"], {"scoring/full/1Mx8/K16/float64"}),
        (
            ["full/1Mx2", "k-means"],
            {
                "pass/full/1Mx2/K8/float64",
                "pass/full/1Mx2/K8/float32",
                "k-means/1Mx8/K16/float64",
            },
        ),
    ],
)
def test_select_by_parts_of_the_name(words, expected):
    assert {case.identifier for case in select(FULL_GRID, words)} == expected


def test_select_without_words_is_everything():
    assert select(FULL_GRID, []) == FULL_GRID


def test_select_names_the_choices_when_nothing_matches():
    with pytest.raises(ValueError, match=r"rows='1Mx9' matches no row .* pass/full/1Mx2/K8"):
        select(FULL_GRID, ["1Mx9"])
