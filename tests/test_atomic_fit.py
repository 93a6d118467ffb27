"""A fit that fails or is interrupted changes nothing: each estimator, stopped within a second fit."""

import copy
import inspect
import itertools
import pkgutil
import sys
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import fastcca
from fastcca import embedding
from fastcca._models.atomic_fit import METHODS, AtomicFit
from fastcca.fusion import EarlyFusion
from fastcca.retrieval import CrossViewSearch, LabelSearch, SearchIndex
from fastcca.synchrony import SynchronyDetector
from fastcca.taxonomy import Taxonomy

PACKAGE = str(Path(fastcca.__file__).parent)
POINTS = 14
ERRORS = (KeyboardInterrupt, MemoryError, fastcca.NumericalError)


def views(seed, p=4, q=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, p))
    return X, X[:, :1] + rng.normal(size=(60, q))


def labelled(seed, names, p=4):
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(3), 20)
    return rng.normal(size=(60, p)) + 3 * np.eye(3, p)[code], np.repeat(names, 20)


ANIMALS, PLACES = ("cat", "dog", "eel"), ("north", "south", "west")
TREE = Taxonomy.from_dict(
    {"thing": {"animal": {"mammal": ["cat", "dog"], "fish": ["eel"]}, "place": list(PLACES)}}
)
VECTORS = dict(zip((*ANIMALS, *PLACES), np.random.default_rng(0).normal(size=(6, 4)), strict=True))
X, Y = views(0)
LX, LY = labelled(0, ANIMALS)
PAIRED = [(X, Y), views(1)]
WIDER = [(X, Y), views(1, 5, 2)]  # other widths as well
CLASSES = [(LX, LY), labelled(1, PLACES, 5)]
SHORT = {"n_epochs": 2, "temperature": 1.0}


def answers(model):
    """What a fitted model says of rows of the first data set, as bytes."""
    said = []
    if isinstance(model, (SearchIndex, CrossViewSearch, LabelSearch)):
        said += model.search(X[:5, :4] if not isinstance(model, LabelSearch) else LX[:5], 2)
    elif isinstance(model, SynchronyDetector):
        said.append(model.correlation(X, Y))
    elif isinstance(model, EarlyFusion):
        said.append(model.transform(X))
    elif hasattr(model, "transform_view"):
        said += [*model.transform([X, Y]).values(), model.common_variate([X, Y])]
    elif hasattr(model, "classes_"):
        said += [model.predict(LX).astype(str), model.transform(LX), model.predict_proba(LX)]
    else:
        said += [model.transform(X), *([model.transform_y(Y)] if hasattr(model, "transform_y") else [])]
        if hasattr(model, "predict"):
            said.append(model.predict(X))
    return [np.ascontiguousarray(part).tobytes() for part in said]


def lines_of(call, stop_at=None, error=KeyboardInterrupt):
    """How many lines of the package a call runs; with ``stop_at`` the error is raised before that one."""
    count = itertools.count(1)
    ran = 0

    def trace(frame, event, _):
        nonlocal ran
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            ran = next(count)
            if ran == stop_at:
                raise error("stopped")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return ran


def check_interruptions(model, second, said=answers, method="fit", errors=ERRORS):
    before = said(model)
    known = set(vars(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = copy.deepcopy(model)
        n_lines = lines_of(lambda: getattr(whole, method)(*second))
        assert n_lines > 3
        assert any(vars(whole)[name] is not value for name, value in copy.copy(vars(model)).items())
        for stop_at, error in zip(
            np.linspace(1, n_lines, POINTS).astype(int), itertools.cycle(errors), strict=False
        ):
            with pytest.raises(error, match="stopped"):
                lines_of(lambda: getattr(model, method)(*second), int(stop_at), error)
            assert set(vars(model)) == known
            assert said(model) == before


CASES = {
    "CCA": (fastcca.CCA(), WIDER),
    "CCA-qr": (fastcca.CCA(solver="qr"), WIDER),
    "CCACV": (fastcca.CCACV(regs=[1e-3, 1.0, 10.0]), WIDER),
    "KernelCCA": (fastcca.KernelCCA(2, rank=10), WIDER),
    "KernelCCACV": (fastcca.KernelCCACV(2, rank=10, regs=[1e-3, 1e-2, 1e-1]), WIDER),
    "TwoViewPipeline": (fastcca.TwoViewPipeline(x=[StandardScaler(), PCA(2)], model=fastcca.CCA(1)), WIDER),
    "TwoViewPipeline-CCACV": (
        fastcca.TwoViewPipeline(x=PCA(2), model=fastcca.CCACV(1, regs=[0.1, 1.0], cv=3)),
        WIDER,
    ),
    "MCCA": (fastcca.MCCA(2), [([X, Y],), (views(1, 5, 2),)]),
    "GCCA": (fastcca.GCCA(2, reg=0.1), [([X, Y],), (views(1, 5, 2),)]),
    "MCCACV": (fastcca.MCCACV(2, regs=[0.1, 1.0]), [([X, Y],), (views(1, 5, 2),)]),
    "JointEmbedding": (embedding.JointEmbedding(2, n_epochs=2, random_state=0), WIDER),
    "NearestClassMean": (embedding.NearestClassMean(), CLASSES),
    "NearestClassMean-learned": (embedding.NearestClassMean("learned", **SHORT), CLASSES),
    "RidgeEmbedding": (embedding.RidgeEmbedding(), CLASSES),
    "LargeMarginEmbedding": (embedding.LargeMarginEmbedding(**SHORT), CLASSES),
    "WARPEmbedding": (embedding.WARPEmbedding(random_state=0, **SHORT), CLASSES),
    "LargeMarginTaxonomyEmbedding": (embedding.LargeMarginTaxonomyEmbedding(TREE, temperature=1.0), CLASSES),
    "AttributeLabelEmbedding": (embedding.AttributeLabelEmbedding(VECTORS, **SHORT), CLASSES),
    "HierarchyLabelEmbedding": (embedding.HierarchyLabelEmbedding(TREE, **SHORT), CLASSES),
    "AttributeHierarchyLabelEmbedding": (
        embedding.AttributeHierarchyLabelEmbedding(TREE, VECTORS, **SHORT),
        CLASSES,
    ),
    "UnifiedSemanticEmbedding": (
        embedding.UnifiedSemanticEmbedding(TREE, VECTORS, n_rounds=1, **SHORT),
        CLASSES,
    ),
    "EarlyFusion": (EarlyFusion(), [(X,), (views(1, 5)[0],)]),
    "SynchronyDetector": (SynchronyDetector(max_lag=3), PAIRED),
    "SearchIndex": (SearchIndex(), [(X,), (views(1)[0],)]),
    "CrossViewSearch": (CrossViewSearch(fastcca.CCA().fit(X, Y)), [(Y,), (views(1)[1],)]),
    "LabelSearch": (
        LabelSearch(embedding.NearestClassMean().fit(LX, LY)),
        [(LX,), (labelled(1, ANIMALS)[0],)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fit_that_is_stopped_changes_nothing(name):
    model, (first, second) = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = copy.deepcopy(model).fit(*first)
    check_interruptions(fitted, second)


@pytest.mark.parametrize("model", [fastcca.CCA(), fastcca.KernelCCA(2, rank=10)], ids=["CCA", "KernelCCA"])
def test_rows_are_added_whole_or_not_at_all(model):
    first, second = PAIRED
    check_interruptions(model.partial_fit(*first), second, method="partial_fit")


def test_rows_of_many_views_are_added_whole_or_not_at_all():
    check_interruptions(fastcca.MCCA(2).partial_fit([X, Y]), (views(1),), method="partial_fit")
    check_interruptions(
        fastcca.MCCA(2).fit([X, Y]), (fastcca.Moments().update(*views(1)),), method="fit_moments"
    )


def test_moments_are_fitted_whole_or_not_at_all():
    check_interruptions(fastcca.CCA().fit(X, Y), (fastcca.Moments().update(*views(1)),), method="fit_moments")


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_network_that_is_stopped_keeps_the_one_before(warm_start, optimizer):
    pytest.importorskip("torch")
    from fastcca.deep import DeepCCA

    options = {"hidden": (4,), "n_epochs": 2, "random_state": 0, "warm_start": warm_start}
    model = DeepCCA(1, optimizer=optimizer, callbacks=(lambda epoch: None,), **options).fit(X, Y)
    # L-BFGS takes a NumericalError of its objective for a step too long, and goes on
    check_interruptions(model, views(1), errors=ERRORS if optimizer == "adam" else ERRORS[:2])


def test_networks_of_many_views_that_are_stopped_keep_those_before():
    pytest.importorskip("torch")
    from fastcca.deep import DeepGCCA

    model = DeepGCCA(1, hidden=(4,), n_epochs=2, random_state=0).fit([X, Y])
    check_interruptions(model, (views(1),))


def test_an_autoencoder_that_is_stopped_keeps_the_network_before():
    pytest.importorskip("torch")
    from fastcca.deep import MultimodalAutoencoder

    model = MultimodalAutoencoder(2, hidden=(4,), n_epochs=2, random_state=0).fit(X)
    check_interruptions(model, (views(1)[0],))


@pytest.mark.parametrize("name", ["RBM", "DenoisingAutoencoder"])
def test_a_module_that_is_stopped_keeps_its_weights(name):
    torch = pytest.importorskip("torch")
    import fastcca.deep

    torch.manual_seed(0)
    module = fastcca.deep.RBM(4, 3) if name == "RBM" else fastcca.deep.DenoisingAutoencoder(4, [3])
    data = torch.rand(60, 4)

    def said(m):
        return [m(data).detach().numpy().tobytes()]

    check_interruptions(module.fit(data), (torch.rand(60, 4),), said)


def test_subclasses_of_users_need_do_nothing():
    class Halved(fastcca.CCA):
        def fit(self, X, y, sample_weight=None):
            self.factor_ = np.float64(len(X) / 2)
            super().fit(X / self.factor_, y, sample_weight)
            self.late_ = True
            if not np.isfinite(X).all() or len(X) < 60:
                raise ValueError("too late")
            return self

    model = Halved().fit(X, Y)
    before, known = answers(model), dict(vars(model))
    with pytest.raises(ValueError, match="too late"):
        model.fit(X[:40], Y[:40])
    assert answers(model) == before
    assert vars(model) == known
    assert list(inspect.signature(Halved.fit).parameters) == ["self", "X", "y", "sample_weight"]
    with pytest.raises(ValueError, match="NaN"):
        Halved().fit(np.full((60, 4), np.nan), Y)


def test_a_first_fit_that_fails_leaves_an_estimator_that_is_not_fitted():
    model = fastcca.CCA()
    with pytest.raises(ValueError, match="the first is at row 0, column 0"):
        model.fit(np.full((60, 4), np.nan), Y)
    assert set(vars(model)) == set(model.get_params())


@pytest.mark.parametrize("name", ["DeepCCA", "RBM"])
def test_an_interrupted_fit_leaves_the_settings_of_torch(name):
    # an interrupt may come between the end of a block and the exit of its context, which is then never left
    torch = pytest.importorskip("torch")
    import fastcca.deep

    def leave_everything_on(*_):
        torch.autocast("cpu", torch.bfloat16).__enter__()
        torch.set_grad_enabled(False)
        torch.set_num_threads(threads + 1)
        raise MemoryError

    def state():
        depth = torch.autocast_increment_nesting()
        torch.autocast_decrement_nesting()
        enabled, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        return depth, enabled, dtype, torch.is_grad_enabled(), torch.get_num_threads()

    threads, before = torch.get_num_threads(), state()
    if name == "DeepCCA":
        model = fastcca.deep.DeepCCA(1, hidden=(3,), n_epochs=2, callbacks=[leave_everything_on], n_threads=1)
        with pytest.raises(MemoryError):
            model.fit(X, Y)
    else:
        with pytest.raises(MemoryError):
            fastcca.deep.RBM(4, 3).fit(torch.rand(60, 4), callback=leave_everything_on)
    assert state() == before


def test_every_class_that_fits_keeps_the_contract():
    pytest.importorskip("torch")
    from fastcca.deep._atomic_fit import AtomicModule

    found = set()
    for info in pkgutil.walk_packages(fastcca.__path__, "fastcca."):
        if info.name.split(".")[1] in ("_core", "__main__", "distributed", "plotting"):
            continue
        for value in vars(import_module(info.name)).values():
            if not inspect.isclass(value) or value.__module__ != info.name:
                continue
            if any(inspect.isfunction(vars(value).get(name)) for name in METHODS):
                found.add(value)
                assert issubclass(value, (AtomicFit, AtomicModule)), value
    assert len(found) >= 15
