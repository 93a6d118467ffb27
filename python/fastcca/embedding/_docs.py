"""Paragraphs that the docstrings of the label embeddings share."""

from fastcca._docstrings import with_paragraphs
from fastcca._models.docs import PARAGRAPHS as OF_ESTIMATORS

__all__ = ["PARAGRAPHS", "documented"]

PARAGRAPHS = {
    **OF_ESTIMATORS,
    # ---- parameters
    "taxonomy": """
        taxonomy : Taxonomy, optional
            The tree of the labels; it may hold nodes beyond those of the fit. None: flat, no node above
            a label.
        """,
    "attributes": """
        attributes : mapping, DataFrame or array_like, optional
            A vector for each label: a mapping from label to vector or a data frame with labels as index,
            which may hold labels beyond those of the fit; or an array of one row a class in the order of
            ``classes_``. None: one-hot vectors.
        """,
    "n_components": """
        n_components : int, optional
            Dimensions d of the space, at most the number of classes. By default that number; of more than
            100 classes 100, or p + 1 if that is less (which loses nothing).
        """,
    "similarity": """
        similarity : {"euclidean", "cosine"}, default="euclidean"
            D: the squared Euclidean distance, or minus the cosine.
        """,
    "cosine_annealing": """
        learning_rate : float, default=0.03
            Initial learning rate of Adam, relative to the root mean square of each parameter's first
            values, with cosine annealing to 0.
        """,
    "batch_size": """
        batch_size : int or None, default=4096
            Rows of a batch. With no more rows than that, or None, each step takes all rows, and nothing
            is random.
        """,
    "class_weight": """
        class_weight : dict, "balanced" or None, default=None
            Factors of the weights of each class: a dict from label to number (1 for a label that it
            lacks), or "balanced", which gives all classes the same total.
        """,
    "scaling": """
        whitening_exponent : float, default=0.5
            The centred columns of X are divided by their standard deviation to this power: 0 leaves
            their variances as they are, 1 gives them equal variance. A common factor of all columns
            changes nothing.
        normalize : bool, default=True
            Shrink row norms towards a common norm, so that outliers do not dominate the fit.
        """,
    "temperature": """
        temperature : float, optional
            Softmax temperature of :meth:`predict_proba`. By default the one of greatest likelihood on
            rows held out from further fits (one, or three where a fit is fast); a number spares those.
        """,
    "random_state": """
        random_state : int, RandomState or None, default=None
            Seed of the shuffled batches.
        """,
    "n_threads": """
        n_threads : int, optional
            Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.
        """,
    # ---- parameters and fitted attributes of ALE, HLE and AHLE
    "bilinear": r"""
        A bilinear model: the label of greatest :math:`\Psi(x)^\top \varphi(y)`, found by a ranking loss
        of the distances :math:`\lVert \Psi(x) - \varphi(y) \rVert^2`, which order vectors of norm one in
        the same way,

        .. math:: \min_{W, b} \tfrac1N \sum_i \frac{L(r_i)}{r_i} \sum_{c \ne y_i}
           \bigl[1 + \lVert \Psi_i - \varphi(y_i) \rVert^2 - \lVert \Psi_i - \varphi(c) \rVert^2\bigr]_+
           + \lambda \lVert W \rVert^2,

        where :math:`\Psi(x) = W^\top f + b` for the scaled inputs f, :math:`r_i` is the number of
        positive terms and :math:`L(r) = 1 + \tfrac12 + \dots + \tfrac1r`.
        """,
    "common_to_ale_hle_and_ahle": """
        loss : {"hinge", "hardest", "rank", "softmax"}, default="rank"
            How the margin violations of a sample are reduced: "rank", their sum times L(r)/r, where r is
            their number and L(r) = 1 + 1/2 + ... + 1/r, of which the paper's sampling is an estimate;
            "hinge", their sum; "hardest", the largest alone; "softmax", the log-loss of negative
            distances, which has no margin.
        reg : float, default=0.001
            Factor of the squared norm of the map.
        learn_prototypes : float, optional
            By default the label vectors are fixed. A number lets them be learned as well, with that
            factor of the mean squared distance from the given ones.
        n_epochs : int, default=200
            Passes over the rows.
        learning_rate : float, default=0.1
            Initial learning rate of Adam, relative to the root mean square of each parameter's first
            values, with cosine annealing to 0.
        batch_size : int, optional
            Rows of a batch; by default all, and nothing is random.
        {random_state}
        {class_weight}
        {scaling}
        {temperature}
        {n_threads}

        {classes_and_points}
        prototypes_ : ndarray of shape (n_classes, d)
            The given label vectors: the same unless they are learned.
        {map}
        {scaling_}
        loss_curve_ : ndarray of shape (n_epochs,)
            The objective, penalties included, epoch by epoch.
        {fitted}

        Raises
        ------
        ValueError
            In ``fit``: parameters out of range, NaN or infinity, fewer than two classes, a class without
            a vector or a node.

        References
        ----------
        Z. Akata, F. Perronnin, Z. Harchaoui and C. Schmid, "Label-embedding for attribute-based
        classification", CVPR 2013.
        """,
    # ---- fitted attributes
    "classes_": """
        Attributes
        ----------
        classes_ : ndarray of shape (n_classes,)
            The labels, sorted.
        """,
    "classes_and_points": """
        {classes_}
        label_embedding_ : ndarray of shape (n_classes, d)
            The point of each label.
        """,
    "map": """
        weights_ : ndarray of shape (p, d)
            The map ``Psi(x) = f @ weights_ + intercept_``, f the scaled inputs,
            ``scaling_.transform(X)``.
        intercept_ : ndarray of shape (d,)
            Its constant.
        """,
    "scaling_": """
        scaling_ : InputScaling
            Means and factors of the inputs.
        """,
    "fitted": """
        temperature_ : float
            The temperature used.
        n_features_in_ : int
            p.
        feature_names_in_ : ndarray of str
            Column names of X, where it was a data frame with text as column names.
        """,
    # ---- methods, errors, sources
    "samples": """
        Parameters
        ----------
        X : array_like of shape (n, p)
            One row a sample; float32 or float64.
        """,
    "returns_scaled_rows": """
        Returns
        -------
        ndarray of shape (n, p)
            The scaled rows, float64.
        """,
    "raises_for_one_class": """
        Raises
        ------
        ValueError
            In ``fit``: parameters out of range, NaN or infinity, fewer than two classes.
        """,
    "raises_without_node": """
        Raises
        ------
        ValueError
            In ``fit``: parameters out of range, NaN or infinity, fewer than two classes, a class that the
            taxonomy lacks.
        """,
    "hwang_sigal": """
        References
        ----------
        S. J. Hwang and L. Sigal, "A unified semantic embedding: relating taxonomies and attributes", NIPS
        2014.
        """,
}

documented = with_paragraphs(PARAGRAPHS)
