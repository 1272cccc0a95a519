"""`MiniBatchGaussianMixture`: mixtures of more rows than one cares to go through many times."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.wrapped import observed_rows, scaled_weights
from fastgmm.docstrings import documented
from fastgmm.em.degeneracy import find_degeneracies, warn_of_degeneracies
from fastgmm.em.initialization.methods import InitMethod
from fastgmm.em.loop import FitInfo, Progress
from fastgmm.em.online.minibatch import (
    MinibatchPlan,
    MinibatchState,
    batch_rows,
    fit_minibatch,
)
from fastgmm.em.online.start import rows_of_start
from fastgmm.em.online.steps import OnlineState
from fastgmm.estimators.gaussian_mixture import LikelihoodMixture
from fastgmm.estimators.shared.attributes import attributes_from_info, attributes_from_parameters
from fastgmm.estimators.shared.fit_checkpoints import checkpoint_of
from fastgmm.estimators.shared.fit_states import minibatch_from_state, minibatch_to_state
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.progress import FitProgress
from fastgmm.estimators.shared.starts import check_enough_rows
from fastgmm.estimators.shared.validation import Missing, check_source, constraints_of
from fastgmm.io.checkpoint import Checkpoint
from fastgmm.io.states import Size, State, require, typed_members
from fastgmm.kernels.compilation import Stopwatch
from fastgmm.kernels.threads import effective_threads
from fastgmm.mixture.covariance_types import CovarianceType
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure


@documented()
class MiniBatchGaussianMixture(LikelihoodMixture):
    """Gaussian mixture fitted by online EM on small batches of rows.

    Each batch updates the mixture a little, so that a single pass suffices for large data.
    `partial_fit` continues from there with further rows.

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    covariance_type : str, default="full"
        As for `GaussianMixture`.
    batch_size : int or "auto", default="auto"
        Number of rows in a batch. "auto" makes batches large enough that the M-step costs little
        compared to the pass over them, but no larger than a fortieth of the rows.
    max_epochs : int, default=10
        Maximum number of passes over the rows. An iterator is passed over once.
    tol : float, default=1e-3
        Convergence threshold. The fit stops when an epoch improves the mean log-likelihood of the
        held-out rows by less than this, in nats.
    early_stopping : bool, default=True
        Whether to hold out rows and stop the fit early. With a single epoch there is nothing to
        stop, and all rows are used.
    validation_fraction : float, default=0.1
        Proportion of the rows to hold out: every tenth row for 0.1.
    n_iter_no_change : int, default=1
        Number of epochs without improvement after which the fit stops.
    step_exponent, step_offset, averaging, forgetting
        As for `GaussianMixture`, where they are for `partial_fit`. A unit of rows is a batch.
    reg_covar : float, default=1e-6
        Non-negative regularization added to the diagonals of the covariances; see
        `reg_covar_scale`.
    n_init : int, default=3
        Number of initializations that are tried on a sample of the rows; the best one is continued.
    init_params : {"kmeans", "k-means++", "afk-mc2", "random", "random_from_data", \
            "hierarchical"}, default="k-means++"
        Method of initialization.
    weights_init, means_init, precisions_init
        As for `GaussianMixture`.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness of the initialization, of the order of rows in memory, and of
        `sample`.
    verbose : int, default=0
        1 prints epochs, 2 also times and changes of the log-likelihood.
    verbose_interval : int, default=1
        Number of epochs between two lines.
    reg_covar_scale : {"auto", "absolute", "relative"}, default="auto"
        As for `GaussianMixture`; the variances are those of the sample.
    missing : {"error", "drop", "model"}, default="error"
        As for `GaussianMixture`.
    checkpoint : str or path, default=None
        File that `fit` saves its state to, so that an interrupted fit can be resumed.
    checkpoint_interval : float, default=60.0
        Seconds between checkpoints, which are written between batches.
    resume : bool, default=False
        Whether `fit` resumes from the checkpoint, if the file exists. The result is bitwise
        identical to that of an uninterrupted fit.
    frozen : dict, default=None
        As for `GaussianMixture`.

    Attributes
    ----------
    weights_, means_, covariances_, precisions_, precisions_cholesky_ : ndarray
        As for `GaussianMixture`.
    converged_ : bool
        Whether the fit stopped because the score of the held-out rows no longer improved.
    n_iter_, n_epochs_ : int
        Number of epochs, that is, passes over the rows.
    n_steps_ : int
        Number of batches that were processed.
    n_samples_seen_ : int
        Number of rows in them that have weight: those of all epochs together.
    lower_bound_ : float
        Mean log-likelihood, in nats, of the rows held out in the last epoch; without any, and after
        `partial_fit`, of the recent rows, each under the mixture before it was processed. Both
        estimate that of other rows of the same kind.
    validation_scores_ : ndarray of shape (`n_epochs_`,)
        Mean log-likelihood of the rows held out, each when it went by; empty without any.
    trace_ : ndarray of shape (`n_epochs_` + 1,)
        `lower_bounds_`, preceded by the value at the initialization. It may fall.
    lower_bounds_ : list of float
        `lower_bound_` after each of the `n_epochs_` epochs.
    fit_info_ : FitInfo
        Information on the fit. An iteration is an epoch.

    See Also
    --------
    GaussianMixture : EM on all rows in every step, which converges to any precision.

    Notes
    -----
    Rows in memory are processed in random order. Rows of files and streams are processed in the
    order in which they come, which should be random: if rows are sorted by cluster, the last ones
    have the greatest influence.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import MiniBatchGaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0.0, 1.0, (20_000, 2)), rng.normal(8.0, 1.0, (20_000, 2))])
    >>> mixture = MiniBatchGaussianMixture(2, max_epochs=1, random_state=0).fit(X)
    >>> np.sort(mixture.means_, axis=0).round(1) + 0.0
    array([[0., 0.],
           [8., 8.]])
    """

    tol: float
    n_epochs_: int
    validation_scores_: FloatArray

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType | CovarianceStructure = "full",
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int = 10,
        tol: float = 1e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 1,
        step_exponent: float = 0.6,
        step_offset: float = 1.0,
        averaging: bool = False,
        forgetting: float = 1.0,
        reg_covar: float = 1e-6,
        n_init: int = 3,
        init_params: InitMethod = "k-means++",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | float | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        verbose_interval: int = 1,
        n_jobs: int | None = None,
        reg_covar_scale: Literal["auto", "absolute", "relative"] = "auto",
        missing: Missing = "error",
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
        frozen: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.step_exponent = step_exponent
        self.step_offset = step_offset
        self.averaging = averaging
        self.forgetting = forgetting
        self.reg_covar = reg_covar
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_jobs = n_jobs
        self.reg_covar_scale = reg_covar_scale
        self.missing = missing
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.resume = resume
        self.frozen = frozen

    _parameter_constraints = constraints_of(
        __init__,
        tol=[Interval(Real, 0.0, None, closed="left")],
        batch_size=[Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        max_epochs=[Interval(Integral, 1, None, closed="left")],
        early_stopping=["boolean"],
        validation_fraction=[Interval(Real, 0.0, 0.5, closed="right")],
        n_iter_no_change=[Interval(Integral, 1, None, closed="left")],
    )

    @property
    def max_iter(self) -> int:
        """Maximum number of iterations: epochs, in which progress is reported."""
        return self.max_epochs

    def _fit(self, X: Rows, y: Any, sample_weight: Weights) -> Source:
        """Fit the mixture, set the attributes, and return the checked rows."""
        watch = Stopwatch()
        given = check_source(self, X, sample_weight, reset=True, ensure_min_samples=2)
        source = scaled_weights(observed_rows(given))
        check_enough_rows(source, self.n_components)
        kind = self._structure_to_fit()
        kind.check_features(source.n_features)
        attributes = partial(attributes_from_parameters, structure=self._structure_asked())
        progress = FitProgress(self, 1, given, y, sample_weight, attributes)
        random_state = check_random_state(self.random_state)
        with ExitStack() as stack:
            checkpoint = checkpoint_of(self, source)
            if checkpoint is not None:
                stack.enter_context(checkpoint)
            batch_size, resumed = self._resumed(checkpoint, source)
            if batch_size is None:
                batch_size = self._rows_of_batch(source)
            plan = self._plan(batch_size, source).suited_to(source)

            def begin(sample: ArraySource) -> OnlineState:
                # A unit is a batch of rows of average weight.
                unit = batch_size * sample.total_weight / sample.n_samples
                check_enough_rows(sample, self.n_components)
                start, _ = self._start_from(sample, unit)
                # The rows of the sample are yet to be learned, with all others.
                return replace(start, n_rows=0, weight=0.0)

            state, reason = fit_minibatch(
                source,
                resumed or begin,
                plan,
                kind,
                seed=int(random_state.randint(np.iinfo(np.int32).max)),
                n_jobs=self.n_jobs,
                observe=_Observer(checkpoint, plan, progress),
            )
        converged = reason == "held_out"
        self._forget_online()
        self._keep(state.online)
        info = FitInfo(
            trace=state.scores,
            n_iter=state.epoch,
            n_passes=state.epoch,
            converged=converged,
            reason="tolerance" if converged else "max_iter",
            seconds=watch.seconds,
            n_threads=effective_threads(self.n_jobs),
            start=0,
            degeneracies=find_degeneracies(
                state.online.parameters, kind, state.online.regularization
            ),
        )
        self._told = frozenset((each.component, each.kind) for each in info.degeneracies)
        held_out = plan.held_out_every is not None
        fitted: dict[str, Any] = {
            **attributes_from_info(info, watch),
            "n_epochs_": state.epoch,
            "validation_scores_": np.array(state.scores[1:] if held_out else ()),
        }
        self.__dict__.update(fitted)
        progress.finish({**attributes(state.online.estimate(kind)), **fitted})
        # The caller of fit is three frames up: this one, fit and its decorator lie between.
        warn_of_degeneracies(info.degeneracies, stacklevel=4)
        if held_out and not converged:
            warnings.warn(
                f"online EM did not converge: the last of max_epochs={self.max_epochs} epochs "
                f"still raised the log-likelihood of the rows held out by tol={self.tol:g} or "
                "more. Increase max_epochs or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return given

    def _check_saved(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        super()._check_saved(arrays)
        if "n_epochs_" in vars(self):
            scores, trace = arrays["validation_scores_"], arrays["trace_"]
            same = not len(scores) or np.array_equal(scores, trace[1:])
            require(same, "validation_scores_ are those of trace_")

    def _rows_of_batch(self, source: Source) -> int:
        if self.batch_size != "auto":
            return self.batch_size
        return batch_rows(self.n_components, source.n_features, source.n_samples)

    def _plan(self, batch_size: int, source: Source) -> MinibatchPlan:
        every = max(2, round(1.0 / self.validation_fraction)) if self.early_stopping else None
        return MinibatchPlan(
            batch_size,
            max_epochs=self.max_epochs,
            held_out_every=every,
            tol=self.tol,
            patience=self.n_iter_no_change,
            averaging=self.averaging,
            sample_rows=rows_of_start(
                self.n_components, source.n_features, self._structure_asked(), source.dtype.itemsize
            ),
            schedule=self._schedule(),
        )

    def _resumed(
        self, checkpoint: Checkpoint | None, source: Source
    ) -> tuple[int | None, MinibatchState | None]:
        """Return the size of batches and the state of a resumed fit."""
        if checkpoint is None or checkpoint.found is None:
            return None, None
        kind = self._structure_to_fit()
        size = Size(self.n_components, source.n_features, kind.is_diagonal)

        def restore(state: State) -> tuple[int, MinibatchState]:
            kept = typed_members(state.values, {"batch_size": int, "fit": dict}, "state")
            require(kept["batch_size"] >= 1, f"batch_size={kept['batch_size']} is positive")
            fit = minibatch_from_state(State(kept["fit"], state.arrays), kind, size)
            require(fit.epoch <= self.max_epochs, f"epoch={fit.epoch} is one of those asked")
            return kept["batch_size"], fit

        return checkpoint.read(restore)


class _Observer:
    """Passes each state to the checkpoint, and the end of each epoch to callbacks and output."""

    def __init__(
        self, checkpoint: Checkpoint | None, plan: MinibatchPlan, progress: FitProgress
    ) -> None:
        self._checkpoint = checkpoint
        self._plan = plan
        self._progress = progress
        self._epoch: int | None = None

    def __call__(self, state: MinibatchState) -> bool:
        """Take note of a state, and return whether the fit shall stop."""
        if self._checkpoint is not None:
            self._checkpoint.observe(self._packed(state))
        stop = False
        if self._epoch is None:
            self._progress.begin(0, state.online.parameters)
        elif state.epoch > self._epoch:
            stop = self._progress.iterate(
                Progress(
                    start=0,
                    iteration=state.epoch,
                    parameters=state.online.parameters,
                    log_likelihood=state.scores[-1],
                    change=state.scores[-1] - state.scores[-2],
                    converged=False,
                )
            )
        self._epoch = state.epoch
        return stop

    def _packed(self, state: MinibatchState) -> Callable[[], State]:
        def pack() -> State:
            fit, arrays = minibatch_to_state(state)
            return State({"fit": fit, "batch_size": self._plan.batch_size}, arrays)

        return pack
