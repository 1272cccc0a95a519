"""Fitted models to ONNX: converters for skl2onnx, alone and in pipelines of scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastgmm.extras import import_from_extra

if TYPE_CHECKING:
    from fastgmm.mixture.parameters import MixtureParameters

__all__ = ["register_converters"]

_MIXTURES = {
    "gaussian_mixture": "GaussianMixture",
    "bayesian_mixture": "BayesianGaussianMixture",
    "message_length": "MessageLengthGaussianMixture",
    "minibatch": "MiniBatchGaussianMixture",
}


def register_converters() -> None:
    """Register mixtures, the classifier and the outlier detector with skl2onnx.

    After it, ``skl2onnx.to_onnx`` converts them wherever scikit-learn's estimators may stand.
    The graphs compute in double precision and return numbers in the precision of their input.
    Values may not be missing. The outputs are

    - of mixtures "label" and "probabilities", and with the option ``score_samples`` also
      "log_likelihood": those of `predict`, `predict_proba` and `score_samples`;
    - of `GaussianMixtureClassifier` "label" and "probabilities", with skl2onnx's options for
      classifiers;
    - of `GaussianMixtureOutlierDetector` "label" and "scores", those of `predict` and
      `decision_function`.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> import fastgmm.onnx
    >>> from skl2onnx import to_onnx
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X = load_iris().data
    >>> model = make_pipeline(StandardScaler(), fastgmm.GaussianMixture(3, random_state=0)).fit(X)
    >>> fastgmm.onnx.register_converters()
    >>> [output.name for output in to_onnx(model, X[:1]).graph.output]
    ['label', 'probabilities']
    """
    register = import_from_extra(
        "skl2onnx", package="skl2onnx", extra="onnx", purpose="the export to ONNX"
    ).update_registered_converter
    import fastgmm

    for name in _MIXTURES.values():
        register(
            getattr(fastgmm, name),
            f"Fastgmm{name}",
            _mixture_shapes,
            _convert_mixture,
            parser=_parse_mixture,
            options={"score_samples": [True, False]},
        )
    register(
        fastgmm.GaussianMixtureClassifier,
        "FastgmmClassifier",
        _classifier_shapes,
        _convert_classifier,
        options={
            "zipmap": [True, False, "columns"],
            "nocl": [True, False],
            "output_class_labels": [False, True],
        },
    )
    register(
        fastgmm.GaussianMixtureOutlierDetector,
        "FastgmmOutlierDetector",
        _detector_shapes,
        _convert_detector,
        parser=_parse_detector,
    )


def _declared(scope: Any, model: Any, inputs: Any, numbers: list[str]) -> Any:
    """Declare a model's operator with labels and further outputs, and return these."""
    from skl2onnx.common.data_types import Int64TensorType, guess_tensor_type

    if isinstance(model, type):
        raise TypeError(f"{model.__name__} is a class; give a fitted model")
    alias = "OutlierDetector" if hasattr(model, "offset_") else type(model).__name__
    operator = scope.declare_local_operator(f"Fastgmm{alias}", model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
    for name in numbers:
        kind = guess_tensor_type(inputs[0].type)
        operator.outputs.append(scope.declare_local_variable(name, kind))
    return operator.outputs


def _parse_mixture(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:  # noqa: ARG001
    wants_scores = scope.get_options(model, {"score_samples": False})["score_samples"]
    scores = ["log_likelihood"] if wants_scores else []
    return _declared(scope, model, inputs, ["probabilities", *scores])


def _parse_detector(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:  # noqa: ARG001
    return _declared(scope, model, inputs, ["scores"])


def _mixture_shapes(operator: Any) -> None:
    n_rows = operator.inputs[0].get_first_dimension()
    label, probabilities, *scores = operator.outputs
    label.type.shape = [n_rows]
    probabilities.type.shape = [n_rows, operator.raw_operator._parameters().n_components]
    for each in scores:
        each.type.shape = [n_rows]


def _detector_shapes(operator: Any) -> None:
    for each in operator.outputs:
        each.type.shape = [operator.inputs[0].get_first_dimension()]


def _classifier_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    n_rows, classes = operator.inputs[0].get_first_dimension(), _labels(operator.raw_operator)[0]
    kind = StringTensorType if classes.dtype.kind in "OU" else Int64TensorType
    operator.outputs[0].set_type(kind([n_rows]))
    operator.outputs[1].type.shape = [n_rows, len(classes)]


def _labels(classifier: Any) -> tuple[Any, Any]:
    """Return the classes, and what stands for rejected rows, as an array of text or integers."""
    classes = classifier.classes_.tolist()
    label = getattr(classifier, "reject_label_", classes[0])
    text = all(isinstance(each, str) for each in classes)
    every = np.array([*classes, label]).astype(np.str_ if text else np.int64)
    return every[:-1], every[-1:]


class _Graph:
    """The operations of a model's graph, on doubles."""

    def __init__(self, operator: Any, container: Any) -> None:
        from skl2onnx.algebra import onnx_ops
        from skl2onnx.proto import onnx_proto

        self._ops, self._types = onnx_ops, onnx_proto.TensorProto
        self._opset = container.target_opset
        self.rows = self("Cast", operator.inputs[0], to=self._types.DOUBLE)

    def __call__(self, name: str, *inputs: Any, **attributes: Any) -> Any:
        return getattr(self._ops, f"Onnx{name}")(*inputs, **attributes, op_version=self._opset)

    def log_joint(self, parameters: MixtureParameters) -> Any:
        """Return the log-densities under the components, weights included."""
        offsets = self("Sub", self.rows, parameters.means[:, None])
        whiteners = parameters.whiteners
        if parameters.is_diagonal:
            whitened = self("Mul", offsets, whiteners[:, None])
        else:
            whitened = self("MatMul", offsets, whiteners.transpose(0, 2, 1).copy())
        squares = self("ReduceSumSquareApi18", whitened, axes=[2], keepdims=0)
        halves = self("Mul", self("Transpose", squares, perm=[1, 0]), np.array([-0.5]))
        return self("Add", halves, parameters.log_weights + parameters.log_normalizers)

    def log_sum(self, terms: Any, keepdims: int = 1) -> Any:
        return self("ReduceLogSumExpApi18", terms, axes=[1], keepdims=keepdims)

    def shares(self, terms: Any) -> Any:
        """Return what exponentials are shares of their sum."""
        return self("Exp", self("Sub", terms, self.log_sum(terms)))

    def highest(self, terms: Any) -> Any:
        return self("ArgMax", terms, axis=1, keepdims=0)

    def put(self, scope: Any, container: Any, operator: Any, values: list[Any]) -> None:
        """Make values the outputs of the operator: the label as it is, numbers in their type."""
        from skl2onnx.common.data_types import DoubleTensorType

        for output, value in zip(operator.outputs, values, strict=True):
            if value is values[0]:
                named = self("Identity", value, output_names=[output])
            else:
                is_double = isinstance(output.type, DoubleTensorType)
                kind = self._types.DOUBLE if is_double else self._types.FLOAT
                named = self("Cast", value, to=kind, output_names=[output])
            named.add_to(scope, container)


def _convert_mixture(scope: Any, operator: Any, container: Any) -> None:
    mixture, graph = operator.raw_operator, _Graph(operator, container)
    parameters = mixture._parameters().with_matrices()
    joint = graph.log_joint(parameters)
    labels = np.arange(parameters.n_components)
    if hasattr(mixture, "noise_weight_"):
        labels[-1] = -1
    label = graph("Gather", labels, graph.highest(joint))
    scores = [graph.log_sum(joint, keepdims=0)] if len(operator.outputs) == 3 else []
    graph.put(scope, container, operator, [label, graph.shares(joint), *scores])


def _convert_detector(scope: Any, operator: Any, container: Any) -> None:
    detector, graph = operator.raw_operator, _Graph(operator, container)
    density = graph.log_sum(graph.log_joint(detector.mixture_._parameters()), keepdims=0)
    decisions = graph("Sub", density, np.array([detector.offset_]))
    is_outlier = graph("Less", decisions, np.array([0.0]))
    label = graph("Where", is_outlier, np.array([-1]), np.array([1]))
    graph.put(scope, container, operator, [label, decisions])


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    classifier, graph = operator.raw_operator, _Graph(operator, container)
    classes, rejected = _labels(classifier)
    densities = [graph.log_sum(graph.log_joint(each)) for each in classifier._mixtures()]
    density = graph("Concat", *densities, axis=1)
    joint = graph("Add", density, classifier._log_priors())
    label = graph("Gather", classes, graph.highest(joint))
    if hasattr(classifier, "reject_below_"):
        below = graph("Less", density, classifier.reject_below_)
        counts = graph("ReduceSumApi11", graph("Cast", below, to=1), axes=[1], keepdims=0)
        unexplained = graph("Equal", counts, np.array([len(classes)], dtype=np.float32))
        label = graph("Where", unexplained, rejected, label)
    shares = graph.shares(graph("Div", joint, np.array([classifier.temperature_])))
    graph.put(scope, container, operator, [label, shares])
