"""Every pass and every M-step once more, as plainly as NumPy can say it.

Nothing here is fast or clever: the formulas are those of Bishop, *Pattern Recognition and Machine
Learning*, chapter 9, written down once. Fast code is tested against this; where even float64 is not
enough, against the mpmath versions at the end.
"""

from __future__ import annotations

import mpmath
import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats


def joint_log_density(X, weights, means, covariances):
    """Return log(weight_k N(x_n | mean_k, covariance_k)), shape (N, K); or of variances."""
    X = np.asarray(X, dtype=np.float64)
    joint = np.empty((len(X), len(means)))
    for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        offsets, covariance = X - mean, _matrix(covariance)
        squares = (offsets * np.linalg.solve(covariance, offsets.T).T).sum(axis=1)
        log_determinant = np.linalg.slogdet(2.0 * np.pi * covariance)[1]
        with np.errstate(divide="ignore"):
            joint[:, k] = np.log(weights[k]) - 0.5 * (log_determinant + squares)
    return joint


def log_density(X, weights, means, covariances):
    joint = joint_log_density(X, weights, means, covariances)
    largest = joint.max(axis=1, keepdims=True)
    return (largest + np.log(np.exp(joint - largest).sum(axis=1, keepdims=True)))[:, 0]


def responsibilities(X, weights, means, covariances):
    joint = joint_log_density(X, weights, means, covariances)
    shares = np.exp(joint - joint.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def labels(X, weights, means, covariances):
    return joint_log_density(X, weights, means, covariances).argmax(axis=1)


def one_hot(labels, n_components):
    return (np.asarray(labels)[:, None] == np.arange(n_components)).astype(np.float64)


def moments(X, responsibilities, reference, sample_weight=None):
    """Return counts, first and second moments about the reference points."""
    X = np.asarray(X, dtype=np.float64)
    shares = responsibilities * _column(sample_weight, len(X))
    offsets = X[:, None, :] - reference
    first = np.einsum("nk,nkd->kd", shares, offsets)
    second = np.einsum("nk,nkd,nke->kde", shares, offsets, offsets)
    return shares.sum(axis=0), first, second


def m_step(X, responsibilities, structure, reg_covar=0.0, sample_weight=None):
    """Return weights, means and the covariance matrix of each component."""
    X = np.asarray(X, dtype=np.float64)
    D = X.shape[1]
    shares = responsibilities * _column(sample_weight, len(X))
    counts = shares.sum(axis=0)
    origin = X.mean(axis=0)
    means = origin + (shares.T @ (X - origin)) / counts[:, None]
    _, _, second = moments(X, responsibilities, means, sample_weight)
    covariances = second / counts[:, None, None] + np.diag(np.broadcast_to(reg_covar, D))
    covariances = best_covariances(structure, covariances, counts)
    return counts / counts.sum(), means, covariances


LETTERS = {
    "full": "VVV",
    "tied": "EEE",
    "diag": "VVI",
    "spherical": "VII",
    "tied_diag": "EEI",
    "tied_spherical": "EII",
    "E": "EII",
    "V": "VII",
}
"""Volume, shape and orientation of the structures that have other names, too."""


def best_covariances(structure, covariances, counts):
    """Return the covariances of a structure that fit best: Celeux and Govaert (1995), section 3."""
    volume, shape, orientation = LETTERS.get(structure, structure)
    K, D = covariances.shape[:2]
    shares = counts / counts.sum()
    if shape == "I":
        covariances = np.array([np.eye(D) * np.trace(each) / D for each in covariances])
        shape, orientation = volume, volume
    if orientation == "I":  # a diagonal covariance has the orientation of all others
        covariances = np.array([np.diag(np.diag(each)) for each in covariances])
        orientation = shape
    if orientation == "E" and shape == "V":
        return _of_common_orientation(covariances, shares, equal=volume == "E")
    axes = np.repeat(np.eye(D)[None], K, axis=0)
    if orientation == "V" and shape == "E":
        variances, axes = np.linalg.eigh(covariances)
        covariances = np.array([np.diag(each) for each in variances])
    if shape == "E" and volume == "E":
        covariances = np.repeat(np.tensordot(shares, covariances, 1)[None], K, axis=0)
    elif shape == "E":
        volumes = np.ones(K)
        for _ in range(1000):
            common = np.tensordot(shares / volumes, covariances, 1)
            before = volumes
            volumes = np.trace(np.linalg.solve(common, covariances), axis1=1, axis2=2) / D
            if np.abs(volumes / before - 1.0).max() < 1e-15:
                break
        covariances = volumes[:, None, None] * common
    elif volume == "E":
        covariances = _of_volume(covariances, shares)
    return axes @ covariances @ axes.transpose(0, 2, 1)


def factor_covariances(loadings, noise):
    """Return the covariance matrix of each factor analyzer."""
    return np.array([a @ a.T + np.diag(b) for a, b in zip(loadings, noise, strict=True)])


def factor_m_step(covariances, shares, loadings, noise, constrained="UUU"):
    """Return loadings Λ, up to rotations, and noise after a step of expanded EM.

    Of Liu, Rubin and Wu (1998), section 3.3, with the constraints of McNicholas and Murphy (2008).
    """
    K, D, q = loadings.shape
    before = factor_covariances(loadings, noise)
    betas = [each.T @ np.linalg.inv(c) for each, c in zip(loadings, before, strict=True)]
    latent = [np.eye(q) - b @ loadings[k] + b @ covariances[k] @ b.T for k, b in enumerate(betas)]
    cross = [covariances[k] @ b.T for k, b in enumerate(betas)]
    found = np.empty((K, D, q))
    for k in range(K):
        for d in range(D):
            used = range(K) if constrained[0] == "C" else [k]
            left = sum(shares[i] / noise[i, d] * latent[i] for i in used)
            right = sum(shares[i] / noise[i, d] * cross[i][d] for i in used)
            found[k, d] = np.linalg.solve(left, right)
    left_over = np.array(
        [
            np.diag(covariances[k] - 2 * found[k] @ cross[k].T + found[k] @ latent[k] @ found[k].T)
            for k in range(K)
        ]
    )
    if constrained[1] == "C":
        left_over = np.repeat((shares @ left_over)[None], K, axis=0)
    if constrained[2] == "C":
        left_over = np.repeat(left_over.mean(axis=1, keepdims=True), D, axis=1)
    if constrained[0] == "C":
        latent = [sum(share * each for share, each in zip(shares, latent, strict=True))] * K
    roots = np.linalg.cholesky(np.array(latent))
    return found @ roots, left_over


def criterion(covariances, observed, shares):
    """Return sum_k w_k (log|covariance_k| + tr(covariance_k^-1 observed_k))."""
    traces = np.trace(np.linalg.solve(covariances, observed), axis1=1, axis2=2)
    return shares @ (np.linalg.slogdet(covariances)[1] + traces)


def _of_volume(covariances, shares):
    volumes = np.linalg.det(covariances) ** (1.0 / covariances.shape[1])
    return covariances * (shares @ volumes / volumes)[:, None, None]


def _of_common_orientation(covariances, shares, equal):
    """Return what Flury and Gautschi (1986) find, by rotations in one plane after another."""
    D = covariances.shape[1]
    axes = np.linalg.eigh(np.tensordot(shares, covariances, 1))[1]
    for _ in range(1000):
        before = axes.copy()
        for plane in [(i, j) for j in range(D) for i in range(j)]:
            turned = axes.T @ covariances @ axes
            t = np.diagonal(turned, axis1=1, axis2=2)
            weights = shares * np.prod(t, axis=1) ** (1.0 / D) if equal else shares
            i, j = plane
            slopes = weights / weights.sum() * (1.0 / t[:, j] - 1.0 / t[:, i])
            pair = np.tensordot(slopes, turned[:, plane][:, :, plane], 1)
            angle = 0.5 * np.arctan2(2.0 * pair[0, 1], pair[0, 0] - pair[1, 1])
            rotation = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            axes[:, plane] = axes[:, plane] @ rotation
        if np.abs(axes - before).max() < 1e-15:
            break
    turned = axes.T @ covariances @ axes
    shaped = np.array([np.diag(np.diag(each)) for each in turned])
    shaped = _of_volume(shaped, shares) if equal else shaped
    return axes @ shaped @ axes.T


def em(X, weights, means, covariances, structure, n_iter, reg_covar=0.0, sample_weight=None):
    """Return parameters after some steps of EM and the mean log-likelihood before each."""
    trace = []
    for _ in range(n_iter):
        density = log_density(X, weights, means, covariances)
        trace.append(np.average(density, weights=sample_weight))
        shares = responsibilities(X, weights, means, covariances)
        weights, means, covariances = m_step(X, shares, structure, reg_covar, sample_weight)
    return (weights, means, covariances), trace


def student_joint_log_density(X, weights, means, scales, dofs):
    """Return log(weight_k t(x_n | mean_k, scale_k, dof_k)), shape (N, K)."""
    X = np.asarray(X, dtype=np.float64)
    densities = [
        scipy.stats.multivariate_t.logpdf(X, mean, scale, df=dof).reshape(len(X))
        for mean, scale, dof in zip(means, scales, dofs, strict=True)
    ]
    return np.log(weights) + np.array(densities).T


def student_weights(X, means, scales, dofs):
    """Return u = (ν + D) / (ν + δ), shape (N, K)."""
    D = X.shape[1]
    offsets = X[:, None] - means
    squares = np.einsum("nkd,kde,nke->nk", offsets, np.linalg.inv(scales), offsets)
    return (dofs + D) / (dofs + squares)


def student_logarithms(u, D, dofs):
    """Return E[log u] of rows of D observed features, given these."""
    half = (np.asarray(dofs) + D) / 2.0
    return np.log(u) + scipy.special.digamma(half) - np.log(half)


def student_step(X, weights, means, scales, dofs, structure, dof, sample_weight=None):
    """Return what a step of EM makes of a mixture of t-distributions (Peel and McLachlan, 2000)."""
    D = X.shape[1]
    joint = student_joint_log_density(X, weights, means, scales, dofs)
    shares = np.exp(joint - scipy.special.logsumexp(joint, axis=1, keepdims=True))
    shares *= _column(sample_weight, len(X))
    u = student_weights(X, means, scales, dofs)
    counts = shares.sum(axis=0)
    means = (shares * u).T @ X / (shares * u).sum(axis=0)[:, None]
    _, _, second = moments(X, shares * u, means)
    scales = best_covariances(structure, second / counts[:, None, None], counts)
    known = (shares * (student_logarithms(u, D, dofs) - u)).sum(axis=0) / counts
    return counts / counts.sum(), means, scales, _student_dofs(known, counts, dof)


def _student_dofs(known, counts, dof):
    """Return the roots of the equation for ν, given the mean of E[log u] - u."""
    if dof == "common":
        known = np.full_like(known, counts @ known / counts.sum())

    def slope(nu, constant):
        return np.log(nu / 2.0) - scipy.special.digamma(nu / 2.0) + 1.0 + constant

    found = [scipy.optimize.brentq(slope, 1e-3, 1e6, args=(each,), xtol=1e-12) for each in known]
    return np.array(found)


def observed_joint_log_density(X, weights, means, covariances):
    """Return log(weight_k p_k(what is observed of x_n)) for rows with NaN, shape (N, K)."""
    joint = np.empty((len(X), len(means)))
    with np.errstate(divide="ignore"):
        joint[:] = np.log(weights)
    for n, x in enumerate(np.asarray(X, dtype=np.float64)):
        seen = ~np.isnan(x)
        if not seen.any():
            continue
        for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
            marginal = scipy.stats.multivariate_normal(mean[seen], covariance[seen][:, seen])
            joint[n, k] += marginal.logpdf(x[seen])
    return joint


def conditional(x, mean, covariance):
    """Return the mean of a row given what is observed of it, and its covariance, 0 there."""
    seen = ~np.isnan(x)
    filled, rest = x.astype(np.float64), np.zeros_like(covariance)
    gain = covariance[~seen][:, seen] @ np.linalg.pinv(covariance[seen][:, seen])
    filled[~seen] = mean[~seen] + gain @ (x[seen] - mean[seen])
    rest[np.ix_(~seen, ~seen)] = covariance[~seen][:, ~seen] - gain @ covariance[seen][:, ~seen]
    return filled, rest


def observed_student_step(X, weights, means, scales, dofs, structure, dof, sample_weight=None):
    """Return what `student_step` does for rows with NaN, and the joint log-densities."""
    (N, D), K = X.shape, len(means)
    joint = np.repeat(np.log(weights)[None], N, axis=0)
    u, logarithms = np.ones((N, K)), np.empty((N, K))
    filled, rest = np.empty((N, K, D)), np.empty((N, K, D, D))
    for n, x in enumerate(X):
        seen = ~np.isnan(x)
        for k in range(K):
            filled[n, k], rest[n, k] = conditional(x, means[k], scales[k])
            if seen.any():
                block = means[k][seen], scales[k][seen][:, seen]
                joint[n, k] += scipy.stats.multivariate_t.logpdf(x[seen], *block, df=dofs[k])
                own = block[0][None], block[1][None], dofs[k]
                u[n, k] = student_weights(x[seen][None], *own)[0, 0]
        logarithms[n] = student_logarithms(u[n], seen.sum(), dofs)
    shares = np.exp(joint - scipy.special.logsumexp(joint, axis=1, keepdims=True))
    shares *= _column(sample_weight, N)
    counts, scaled = shares.sum(axis=0), shares * u
    means = np.einsum("nk,nkd->kd", scaled, filled) / scaled.sum(axis=0)[:, None]
    offsets = filled - means
    second = np.einsum("nk,nkd,nke->kde", scaled, offsets, offsets)
    second += np.einsum("nk,nkde->kde", shares, rest)
    scales = best_covariances(structure, second / counts[:, None, None], counts)
    known = (shares * (logarithms - u)).sum(axis=0) / counts
    dofs = _student_dofs(known, counts, dof)
    return (counts / counts.sum(), means, scales, dofs), joint


def expected_moments(X, shares, reference, means, covariances, sample_weight=None):
    """Return counts and expected moments about the reference points, row by row."""
    shares = shares * _column(sample_weight, len(X))
    first, second = np.zeros_like(reference), np.zeros((*reference.shape, reference.shape[1]))
    for n, x in enumerate(X):
        for k in range(len(means)):
            filled, rest = conditional(x, means[k], covariances[k])
            offset = filled - reference[k]
            first[k] += shares[n, k] * offset
            second[k] += shares[n, k] * (np.outer(offset, offset) + rest)
    return shares.sum(axis=0), first, second


def measured_joint_log_density(X, errors, weights, means, covariances):
    """Return log(weight_k p_k(x_n)) of rows with errors of covariances (N, D, D), shape (N, K)."""
    return np.concatenate(
        [
            observed_joint_log_density(X[n : n + 1], weights, means, covariances + errors[n])
            for n in range(len(X))
        ]
    )


def true_values(x, error, mean, covariance):
    """Return the mean and the covariance of the true values of a row with errors and NaN."""
    seen = ~np.isnan(x)
    total = covariance[np.ix_(seen, seen)] + error[np.ix_(seen, seen)]
    gain = covariance[:, seen] @ np.linalg.inv(total)
    return mean + gain @ (x[seen] - mean[seen]), covariance - gain @ covariance[seen]


def true_moments(X, errors, shares, reference, means, covariances, sample_weight=None):
    """Return counts and expected moments of true values about the reference points, row by row."""
    shares = shares * _column(sample_weight, len(X))
    first, second = np.zeros_like(reference), np.zeros((*reference.shape, reference.shape[1]))
    for n, x in enumerate(X):
        for k in range(len(means)):
            mean, rest = true_values(x, errors[n], means[k], covariances[k])
            offset = mean - reference[k]
            first[k] += shares[n, k] * offset
            second[k] += shares[n, k] * (np.outer(offset, offset) + rest)
    return shares.sum(axis=0), first, second


def box_moments(mean, covariance, lows, highs):
    """Return the logarithm of the probability of a box, and the mean and covariance there.

    By Gauss-Legendre quadrature within ten standard deviations, for three features at most.
    """
    nodes, weights = np.polynomial.legendre.leggauss(120 if len(mean) < 3 else 50)
    deviations = np.sqrt(np.diag(covariance))
    lows = np.maximum(lows, mean - 10.0 * deviations)
    highs = np.minimum(highs, np.maximum(mean, lows) + 10.0 * deviations)
    sides = [0.5 * (a + b) + 0.5 * (b - a) * nodes for a, b in zip(lows, highs, strict=True)]
    points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(mean))
    each = [0.5 * (b - a) * weights for a, b in zip(lows, highs, strict=True)]
    volumes = np.prod(np.meshgrid(*each, indexing="ij"), axis=0).ravel()
    densities = volumes * scipy.stats.multivariate_normal(mean, covariance).pdf(points)
    total = densities.sum()
    found = densities @ points / total
    offsets = points - found
    return np.log(total), found, (densities / total * offsets.T) @ offsets


def limited_row(x, flags, mean, covariance):
    """Return the log-density of a row with limits and NaN, and what is expected of it."""
    measured, bounded = (flags == 0) & ~np.isnan(x), (flags != 0) & ~np.isnan(x)
    filled, rest = conditional(np.where(measured, x, np.nan), mean, covariance)
    log_density = 0.0
    if measured.any():
        marginal = scipy.stats.multivariate_normal(
            mean[measured], covariance[np.ix_(measured, measured)]
        )
        log_density = marginal.logpdf(x[measured])
    if not bounded.any():
        return log_density, filled, rest
    here = np.ix_(bounded, bounded)
    lows = np.where(flags > 0, x, -np.inf)[bounded]
    highs = np.where(flags < 0, x, np.inf)[bounded]
    found, inside, spread = box_moments(filled[bounded], rest[here], lows, highs)
    gain = rest[:, bounded] @ np.linalg.inv(rest[here])
    shift = gain @ (inside - filled[bounded])
    return log_density + found, filled + shift, rest + gain @ (spread - rest[here]) @ gain.T


def limited_statistics(X, flags, weights, means, covariances):
    """Return joint log-densities (N, K), expected rows (N, K, D), and their covariances."""
    rows = [
        [limited_row(x, f, m, c) for m, c in zip(means, covariances, strict=True)]
        for x, f in zip(np.asarray(X, dtype=np.float64), flags, strict=True)
    ]
    joint, expected, spreads = (
        np.array([[each[i] for each in row] for row in rows]) for i in range(3)
    )
    return joint + np.log(weights), expected, spreads


def equicorrelated_box(highs, correlation, points=2001):
    """Return log-probability and mean of z ≤ highs of unit variances with one correlation ≥ 0.

    Given the factor that all share, features are independent, so that one integral is left.
    """
    factors, step = np.linspace(-10.0, 10.0, points, retstep=True)
    rest = np.sqrt(1.0 - correlation)
    t = (np.asarray(highs) - np.sqrt(correlation) * factors[:, None]) / rest
    masses = scipy.special.log_ndtr(t)
    weights = step * scipy.stats.norm.pdf(factors) * np.exp(masses.sum(axis=1))
    hazards = np.exp(scipy.stats.norm.logpdf(t) - masses)
    means = np.sqrt(correlation) * factors[:, None] - rest * hazards
    return np.log(weights.sum()), weights @ means / weights.sum()


def nearest_centers(X, centers):
    """Return the nearest center of each row and the squared distance to it."""
    squares = ((np.asarray(X, dtype=np.float64)[:, None, :] - centers) ** 2).sum(axis=2)
    return squares.argmin(axis=1), squares.min(axis=1)


def lloyd_moments(X, centers, sample_weight=None):
    """Return counts, sums about the centers, and the inertia."""
    nearest, squares = nearest_centers(X, centers)
    counts, first, _ = moments(X, one_hot(nearest, len(centers)), centers, sample_weight)
    return counts, first, float((squares * _column(sample_weight, len(X))[:, 0]).sum())


def covariance_matrices(structure, covariances, n_components, n_features):
    """Return one matrix for each component from covariances in the user's shape."""
    letters = LETTERS.get(structure, structure)
    covariances = np.asarray(covariances)
    if letters[2] != "I":
        return np.broadcast_to(covariances, (n_components, n_features, n_features)).copy()
    if letters == "VII":
        covariances = covariances[:, None]
    variances = np.broadcast_to(covariances, (n_components, n_features))
    return np.array([np.diag(each) for each in variances])


def fitted_covariances(estimator):
    """Return the covariance matrix of each component of a fitted mixture."""
    shape = estimator.means_.shape
    return covariance_matrices(estimator.covariance_type, estimator.covariances_, *shape)


def mixture_of(estimator):
    """Return weights, means and covariance matrices of a fitted mixture."""
    return estimator.weights_, estimator.means_, fitted_covariances(estimator)


def exact_moments(X):
    """Return mean and covariance of rows, each rounded once from many digits."""
    with mpmath.workdps(60):
        columns = [[mpmath.mpf(float(value)) for value in column] for column in np.asarray(X).T]
        means = [mpmath.fsum(column) / len(column) for column in columns]
        offsets = [[v - mean for v in column] for column, mean in zip(columns, means, strict=True)]
        covariance = [[mpmath.fdot(a, b) / len(a) for b in offsets] for a in offsets]
    return np.array(means, dtype=np.float64), np.array(covariance, dtype=np.float64)


def exact_covariances_of_one_shape(structure, covariances, counts):
    """Return the covariances of VEI, VEE or VEV that fit best, worked out to 40 digits."""
    K, D = covariances.shape[:2]
    with mpmath.workdps(40):
        observed = [mpmath.matrix(each.tolist()) for each in covariances]
        axes = [mpmath.eye(D)] * K
        if structure == "VEV":
            decomposed = [mpmath.eigsy(each) for each in observed]
            axes = [vectors for _, vectors in decomposed]
            observed = [mpmath.diag(values) for values, _ in decomposed]
        if structure == "VEI":
            observed = [mpmath.diag([each[j, j] for j in range(D)]) for each in observed]
        volumes, change = [mpmath.mpf(1)] * K, mpmath.inf
        while change > 1e-30:
            parts = [observed[k] * (counts[k] / volumes[k]) for k in range(K)]
            common = sum(parts, mpmath.zeros(D)) / mpmath.fsum(counts)
            inverse, before = common**-1, volumes
            volumes = [mpmath.fdot(inverse, each) / D for each in observed]
            change = max(abs(a / b - 1) for a, b in zip(volumes, before, strict=True))
        found = [axes[k] * (volumes[k] * common) * axes[k].T for k in range(K)]
        return np.array([each.tolist() for each in found], dtype=np.float64)


def _matrix(covariance):
    return np.diag(covariance) if np.ndim(covariance) == 1 else covariance


def _column(sample_weight, n_samples):
    return np.ones((n_samples, 1)) if sample_weight is None else np.asarray(sample_weight)[:, None]
