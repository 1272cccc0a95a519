"""The comparison of truncated EM with dense EM, of few patches."""

from comparisons import large_k


def test_growth_is_timed_and_plotted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(large_k, "seconds_of_e_step", lambda n, d, k, **_: n * d * d * k)
    assert large_k.main(["--growth", "10", "--plot", str(tmp_path / "growth.png")]) == 1
    assert "components, truncated: exponent 1.000" in capsys.readouterr().out
    assert (tmp_path / "growth.png").stat().st_size > 0


def test_many_components_are_compared_with_few(capsys):
    arguments = ["--rows", "4000", "--side", "2", "--default-fit", "300", "4", "--iterations", "3"]
    assert large_k.main(arguments) == 0
    text = capsys.readouterr().out
    assert "K=300, truncated: 3 iterations" in text
    assert large_k.seconds_of_e_step(2000, 2, 256, truncated=True) > 0.0


def test_both_are_iterated_from_the_same_start(capsys):
    arguments = ["--rows", "4000", "--side", "2", "--components", "300", "--iterations", "3"]
    assert large_k.main(arguments) in (0, 1)
    text = capsys.readouterr().out
    assert "truncated: " in text
    assert "log-likelihood behind dense EM, K=300" in text
