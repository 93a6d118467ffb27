"""What every estimator shares: the contract of its fit, its files, the two-view interface."""
