"""The information criteria of a mixture that was fitted by its likelihood."""

from __future__ import annotations

from fastgmm.analysis import criteria
from fastgmm.estimators.shared.evaluation import MixtureEvaluation, Rows, Weights


class InformationCriteria(MixtureEvaluation):
    """The criteria that weigh the likelihood of rows against the number of parameters."""

    def bic(self, X: Rows, sample_weight: Weights = None) -> float:
        """Return the Bayesian information criterion of the mixture on rows; lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.
        sample_weight : array-like of shape (n_samples,) or str, default=None
            Weights of the rows, or the name of the column of `X` that holds them. Their sum takes
            the place of `n_samples`.

        Returns
        -------
        float
            -2 log L + p log n, with p free parameters (Schwarz, 1978).
        """
        return self._scores(X, sample_weight).bic

    def aic(self, X: Rows, sample_weight: Weights = None) -> float:
        """Return the Akaike information criterion of the mixture on rows; lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.
        sample_weight : array-like of shape (n_samples,) or str, default=None
            Weights of the rows, or the name of the column of `X` that holds them.

        Returns
        -------
        float
            -2 log L + 2 p, with p free parameters (Akaike, 1974).
        """
        return self._scores(X, sample_weight).aic

    def icl(self, X: Rows, sample_weight: Weights = None) -> float:
        """Return the integrated completed likelihood criterion on rows; lower is better.

        It is the Bayesian criterion plus twice the entropy of the assignment, so that it
        prefers components that are well apart (Biernacki, Celeux and Govaert, 2000; in the form
        of McLachlan and Peel, 2000, section 6.10).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.
        sample_weight : array-like of shape (n_samples,) or str, default=None
            Weights of the rows, or the name of the column of `X` that holds them. Their sum takes
            the place of `n_samples`.

        Returns
        -------
        float
            ``bic(X) + 2 * entropy(X)``.
        """
        source, parameters = self._observed(X, sample_weight)
        bic = criteria.score(source, parameters, self._n_parameters(), n_jobs=self.n_jobs).bic
        return bic + 2.0 * criteria.assignment_entropy(source, parameters, n_jobs=self.n_jobs)
