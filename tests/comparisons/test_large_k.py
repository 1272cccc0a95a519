"""The comparison of truncated EM with dense EM, of few patches."""

from comparisons import large_k


def test_both_are_iterated_from_the_same_start(capsys):
    arguments = ["--rows", "4000", "--side", "2", "--components", "300", "--iterations", "3"]
    assert large_k.main(arguments) in (0, 1)
    text = capsys.readouterr().out
    assert "truncated: " in text
    assert "log-likelihood behind dense EM, K=300" in text
