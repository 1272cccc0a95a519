"""``fastgmm export``: a graph that predicts as the model does."""

import numpy as np
import pytest
from onnxruntime import InferenceSession
from sklearn.datasets import load_iris

from fastgmm import GaussianMixture, GaussianMixtureOutlierDetector
from tests.cli_process import refuse, succeed

X = load_iris().data


@pytest.mark.parametrize("kind", [GaussianMixture, GaussianMixtureOutlierDetector])
def test_predicts_as_the_model(tmp_path, kind):
    model = kind(3, random_state=0).fit(X)
    model.save(tmp_path / "model.fgm")
    text = succeed("export", "-m", "model.fgm", "--onnx", "model.onnx", cwd=tmp_path)
    assert "outputs  label, " in text
    session = InferenceSession(tmp_path / "model.onnx")
    (name,) = [each.name for each in session.get_inputs()]
    np.testing.assert_array_equal(session.run(["label"], {name: X})[0].ravel(), model.predict(X))


def test_refused(tmp_path):
    GaussianMixture().fit(X).save(tmp_path / "model.fgm")
    message = refuse("export", "-m", "model.fgm", "--onnx", "model.txt", cwd=tmp_path)
    assert "its name must end in .onnx" in message
    message = refuse("export", "-m", "none.fgm", "--onnx", "model.onnx", cwd=tmp_path)
    assert "there is no file 'none.fgm'" in message
