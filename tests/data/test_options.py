"""Amounts of memory as people write them, and blocks that fit in."""

import pytest

from fastgmm.data.options import bytes_of_memory
from fastgmm.data.sources.stream import rows_of_block


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("500MB", 500_000_000),
        ("2 GB", 2_000_000_000),
        ("1.5GiB", 3 * 2**29),
        ("10k", 10_000),
        ("1TB", 10**12),
        (" 7 ", 7),
        ("64b", 64),
        (12345, 12345),
    ],
)
def test_amounts(text, amount):
    assert bytes_of_memory(text) == amount


@pytest.mark.parametrize("text", ["", "GB", "five", "1XB", "-1GB", "3ib"])
def test_no_amounts(text):
    with pytest.raises(ValueError, match="is no amount of memory: give a number and a unit"):
        bytes_of_memory(text)


@pytest.mark.parametrize("amount", [0, -5, "0GB"])
def test_nothing_is_too_little(amount):
    with pytest.raises(ValueError, match="must be more than nothing"):
        bytes_of_memory(amount)


def test_blocks_are_whole_and_within_the_budget():
    for bytes_per_row in (4, 24, 1000, 10**6):
        for budget in (1, 10**6, 10**9, 10**12):
            n_rows = rows_of_block(bytes_per_row, budget)
            assert n_rows % 1024 == 0
            assert n_rows == 1024 or n_rows * bytes_per_row <= budget / 16
