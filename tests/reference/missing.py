"""Maximum likelihood from incomplete rows, row by row."""

import numpy as np


def em_step(rows, mean, S):
    """One iteration of EM of a normal distribution: the next mean and covariance."""
    n, d = rows.shape
    first, second = np.zeros(d), np.zeros((d, d))
    for row in rows:
        o, m = np.flatnonzero(~np.isnan(row)), np.flatnonzero(np.isnan(row))
        x, C = row.copy(), np.zeros((d, d))
        B = S[np.ix_(m, o)] @ np.linalg.inv(S[np.ix_(o, o)])
        x[m] = mean[m] + B @ (row[o] - mean[o])
        C[np.ix_(m, m)] = S[np.ix_(m, m)] - B @ S[np.ix_(o, m)]
        first += x - mean
        second += np.outer(x - mean, x - mean) + C
    shift = first / n
    return mean + shift, second / n - np.outer(shift, shift)


def log_likelihood(rows, mean, S):
    """Of the values that are there."""
    total = 0.0
    for row in rows:
        o = np.flatnonzero(~np.isnan(row))
        away, part = row[o] - mean[o], S[np.ix_(o, o)]
        total -= 0.5 * (
            len(o) * np.log(2 * np.pi) + np.linalg.slogdet(part)[1] + away @ np.linalg.solve(part, away)
        )
    return total


def em(rows, n_iter):
    """Mean and covariance after so many iterations, from the means and variances of the columns."""
    mean, S = np.nanmean(rows, axis=0), np.diag(np.nanvar(rows, axis=0))
    for _ in range(n_iter):
        mean, S = em_step(rows, mean, S)
    return mean, S
