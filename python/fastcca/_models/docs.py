"""Paragraphs that the docstrings of estimators share; those of headings are whole sections, or begin one."""

from fastcca._docstrings import with_paragraphs

__all__ = ["PARAGRAPHS", "documented"]

PARAGRAPHS = {
    # ---- rows to fit
    "paired_views": """
        Parameters
        ----------
        X : array_like of shape (n, p)
            First view.
        y : array_like of shape (n, q) or (n,)
            Second view: row i belongs to row i of ``X``.
        """,
    "fit_weights": """
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row; their sum must exceed 1.
        """,
    "cv_weights_and_groups": """
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row, in fits and in scores.
        groups : array_like of shape (n,), optional
            Handed to the splitter ``cv``.
        """,
    "paired_views_in_folds": """
        {paired_views}
        {cv_weights_and_groups}
        """,
    "moments_of_two_views": """
        Parameters
        ----------
        moments : Moments
            Of two views, ``Moments().update(X, y)``.
        """,
    "raises_for_other_moments": """
        Raises
        ------
        ValueError
            For moments of other than two views or of fewer than two rows.
        TypeError
            For anything that is not :class:`~fastcca.Moments`.
        """,
    "raises_without_moments": """
        Raises
        ------
        ValueError
            As in ``fit``; for a model saved without moments.
        """,
    "raises_in_fit": """
        Raises
        ------
        ValueError
            In ``fit``: parameters out of range, views that are not numbers or do not pair, NaN or infinity.
        """,
    "raises_if_constant": """
        NumericalError
            In ``fit``: every column of a view is constant. (It is a ValueError as well.)
        """,
    "missing": """
        missing : {"error", "drop", "em"}, default="error"
            What ``fit`` does with missing values, NaN or None. "drop" leaves out rows that have one, with a
            warning of how many. "em" takes every row: the moments are those of maximum likelihood under a
            normal distribution, :func:`fastcca.functional.em_moments`, which needs more rows than columns and
            no columns that depend on one another. Where nothing is missing the fit is the same. Rows to
            ``transform`` or ``predict`` have no missing values.
        """,
    "new_rows": """
        Parameters
        ----------
        X : array_like of shape (n, p)
            New rows. The first call takes at least two.
        """,
    "returns_self": """
        Returns
        -------
        self
            The fitted estimator.
        """,
    "raises_in_search": """
        Raises
        ------
        ValueError
            In ``fit``: parameters out of range, folds too small, views that are not numbers or do not pair,
            NaN or infinity.
        """,
    # ---- rows to use a model on
    "rows": """
        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows in the units of the training data.
        """,
    "ignored_y": """
        y : ignored
            Accepted because scikit-learn's pipelines and checks pass it.
        """,
    "paired_rows": """
        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows of the first view.
        y : array_like of shape (n, q), or (n,) if q is 1
            The paired rows of the second view.
        """,
    "x_scores": """
        Parameters
        ----------
        Z : array_like of shape (n, n_components_)
            Scores as :meth:`transform` gives them.
        """,
    "y_scores": """
        Parameters
        ----------
        Z : array_like of shape (n, n_components_)
            Scores as :meth:`transform_y` gives them.
        """,
    "confounds": """
        confounds : array_like of shape (n, c), optional
            As in :meth:`transform`.
        """,
    "confounds_of_rows": """
        confounds : array_like of shape (n, c), optional
            Confounds of these rows, where the fit had some.
        """,
    "out": """
        out : ndarray or memory map of shape (n, n_components_), optional
            Where the scores go, in the dtype that they would have; it is returned. Rows are taken block by
            block, so that neither ``X`` nor the scores have to fit in memory where both are memory maps. The
            values are bitwise those without it. After an error it holds the blocks before that of the error.
        """,
    "rows_of_both_views": """
        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows of the first view.
        y : array_like of shape (n, q)
            The paired rows of the second view.
        """,
    # ---- answers
    "returns_scores": """
        Returns
        -------
        ndarray of shape (n, n_components_)
            In the dtype of ``X`` (float32 or float64); a data frame after ``set_output``.
        """,
    "returns_both_scores": """
        Returns
        -------
        tuple of ndarray
            Shapes (n, n_components_) and (m, n_components_).
        """,
    "returns_x": """
        Returns
        -------
        ndarray of shape (n, p)
            In the units of X.
        """,
    "returns_y": """
        Returns
        -------
        ndarray of shape (n, q), or (n,) if the fit was on a 1-d y
            In the units of y.
        """,
    "returns_names": """
        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
        """,
    "example_of_predict": """
        Examples
        --------
        >>> import numpy as np
        >>> from fastcca import CCA
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> CCA().fit(X, X @ [1.0, 2.0, 3.0]).predict([[1.0, 1.0, 1.0]]).round(6)
        array([6.])
        """,
    "returns_report": """
        Returns
        -------
        Report
            ``print`` shows it as text, a notebook as HTML.
        """,
    "raises_not_fitted": """
        Raises
        ------
        NotFittedError
            Before ``fit``.
        """,
    "raises_for_rows": """
        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            For a wrong number of features, NaN or infinity.
        """,
    "raises_as_transform": """
        Raises
        ------
        NotFittedError, ValueError
            As :meth:`transform`.
        """,
    # ---- score
    "rows_to_score": """
        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows of the first view, at least two.
        y : array_like of shape (n, q)
            The paired rows of the second view.
        sample_weight : array_like of shape (n,), optional
            Weights count as repetitions of a row.
        """,
    "returns_mean_correlation": """
        Returns
        -------
        float
            Mean over the components of the Pearson correlation of the two scores, with the projections and
            the order of the fit; a score that is constant counts 0.

        Raises
        ------
        ValueError
            For a single row (no correlation can be computed) or rows that do not pair.
        """,
    # ---- more than two views
    "one_view": """
        Parameters
        ----------
        name : str
            Which view.
        X : array_like of shape (n, p)
            Its rows.
        """,
    "returns_scores_of_view": """
        Returns
        -------
        ndarray of shape (n, n_components_)
            In the dtype of ``X``.
        """,
    "returns_scores_by_view": """
        Returns
        -------
        dict of str to ndarray of shape (n, n_components_)
            In the dtype of each view.
        """,
    "common_variate": """
        Where a row has every view it is the weighted sum of the views' scores; else that sum's least-squares
        regression on the scores of the views that the row has.
        """,
    "incomplete_views": """
        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), or sequence of such
            As for ``fit``. Views may be missing as a whole, or in rows that are NaN throughout.
        """,
    "returns_common_variate": """
        Returns
        -------
        ndarray of shape (n, n_components_)
            float32 if every view is, else float64.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            As :meth:`transform`, and for a row without any view.
        """,
    "views_to_predict": """
        names : sequence of str, optional
            Which views to predict; by default those that are missing as a whole or in a row.
        """,
    "returns_predicted_views": """
        Returns
        -------
        dict of str to ndarray of shape (n, p_i)
            In the units of the views. A view that a row has is predicted from the other views of the row,
            where it has any, so that what is predicted is not part of what it is predicted from.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            For an unknown name; as :meth:`common_variate`.
        """,
    "views_to_score": """
        Parameters
        ----------
        views : mapping of str to array_like of shape (n, p_i), or sequence of such
            Two of the views or more, of at least two rows.
        y : ignored
        sample_weight : array_like of shape (n,), optional
            Weights count as repetitions of a row.
        """,
    "returns_mean_of_pairs": """
        Returns
        -------
        float
            Mean over components and pairs of views of the Pearson correlation of the two scores; a score that
            is constant counts 0.

        Raises
        ------
        ValueError
            For a single view or row, and as :meth:`transform`.
        """,
    # ---- partial least squares
    "components_as_pls_regression": """
        Parameters
        ----------
        n_components : int, default=2
            Number of components, at most min(p, q).
        scale, n_threads, missing
            As in :class:`PLSRegression`.
        """,
    "raises_as_pls_regression": """
        Raises
        ------
        ValueError, NumericalError
            As in :class:`PLSRegression`.

        Warns
        -----
        UserWarning
            If ``n_components`` is reduced.
        """,
    # ---- sources
    "dayal_macgregor": """
        References
        ----------
        B. S. Dayal and J. F. MacGregor, "Improved PLS algorithms", Journal of Chemometrics 11, 1997.
        """,
    "kettenring": """
        References
        ----------
        J. R. Kettenring, "Canonical analysis of several sets of variables", Biometrika 58, 1971.
        """,
}

documented = with_paragraphs(PARAGRAPHS)
