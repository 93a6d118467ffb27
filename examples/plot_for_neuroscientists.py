"""
Brain and behaviour, stimulus and recording
===========================================

Two questions of a laboratory. Many voxels of few subjects against their behaviour: the columns are reduced
within each fold, families stay together in every shuffle, motion is a confound. And a stimulus against a
recording: time series, whose neighbouring frames resemble each other, with a delay between them.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter1d
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.preprocessing import StandardScaler

from fastcca import CCA, CCACV, TwoViewPipeline
from fastcca.inference import permutation_test
from fastcca.metrics import column_correlations
from fastcca.plotting import LagDisplay
from fastcca.synchrony import SynchronyDetector

rng = np.random.default_rng(3)

# %%
# **Brain and behaviour.** 300 subjects in 150 families of two, 800 edges of a connectome, 20 measures of
# behaviour. One mode of both, and motion in the scanner, which the edges show as well.

families, n = np.repeat(np.arange(150), 2), 300
family = rng.normal(size=150)[families]  # what siblings share
mode = (family + rng.normal(size=n)) / np.sqrt(2)
motion = rng.normal(size=n)
networks = rng.normal(size=(12, 800))
edges = np.column_stack([mode, motion, rng.normal(size=(n, 10))]) @ networks + 2.0 * rng.normal(size=(n, 800))
behaviour = np.outer(mode, rng.normal(size=20)) + 2.5 * rng.normal(size=(n, 20))

# %%
# PCA, then CCA, is the standard; how many components is chosen by families that neither saw. The steps are
# fitted anew in every fold: nothing of the held-out subjects leaks into the components.

pipeline = TwoViewPipeline(
    x=[StandardScaler(), PCA(random_state=0)], y=[StandardScaler()], model=CCA(n_components=1)
)
search = GridSearchCV(pipeline, {"x__pca__n_components": [2, 5, 10, 20, 50, 100]}, cv=GroupKFold(5))
search.fit(edges, behaviour, groups=families)
numbers = search.param_grid["x__pca__n_components"]
trained = [
    pipeline.set_params(x__pca__n_components=k).fit(edges, behaviour).score(edges, behaviour) for k in numbers
]
figure, ax = plt.subplots(figsize=(6.4, 3.4))
ax.plot(numbers, trained, "o-", label="subjects of the fit")
ax.plot(numbers, search.cv_results_["mean_test_score"], "o-", label="families held out")
ax.set(xlabel="principal components of the edges", ylabel="correlation", xscale="log", ylim=(-0.1, 1))
ax.legend()
print("chosen:", search.best_params_)

# %%
# **Is it there?** Families move as wholes, against others of their size; motion is taken out of both views.
# The components are as many as the folds chose, and made without a look at the behaviour.

components = PCA(search.best_params_["x__pca__n_components"], random_state=0).fit_transform(edges)
test = permutation_test(
    CCA(n_components=2),
    components,
    behaviour,
    confounds=motion[:, np.newaxis],
    blocks=families,
    exchange="whole",
    n_permutations=999,
    random_state=0,
)
print("p-values of the first two pairs:", test.p_value[:2].round(3))

# %%
# **Stimulus and recording.** Three features of a film at 10 frames a second, 30 channels which follow two
# of them 12 frames later. Frames resemble their neighbours: shuffled ones would not, and a shuffle would
# call anything significant. ``exchange="shift"`` moves one view round in a circle instead.

frames = 3000
stimulus = gaussian_filter1d(rng.normal(size=(frames, 3)), 4, axis=0)
stimulus /= stimulus.std(axis=0)
drifts = gaussian_filter1d(rng.normal(size=(frames, 30)), 10, axis=0)
drifts /= drifts.std(axis=0)
recording = np.roll(stimulus[:, :2], 12, axis=0) @ rng.normal(size=(2, 30)) + 1.5 * drifts
recording += rng.normal(size=recording.shape)
unrelated = gaussian_filter1d(rng.normal(size=(frames, 3)), 4, axis=0)

late = slice(12, 1012), slice(24, 1024)  # the recording 12 frames after the stimulus
for name, shown in (("this film", stimulus), ("another film", unrelated)):
    p = {
        exchange: permutation_test(
            CCA(reg=1e-2),
            shown[late[0]],
            recording[late[1]],
            exchange=exchange,
            n_permutations=499,
            random_state=0,
        ).p_value[0]
        for exchange in ("within", "shift")
    }
    print(f"{name}: p = {p['shift']:.3f} by shifts; by shuffled frames {p['within']:.3f}, which is not valid")

# %%
# **The delay.** A detector that was fitted where the delay is known finds it elsewhere, with its
# confidence: the probability that unrelated series of this smoothness correlate less at every lag.
# ``fastcca.report`` has the same as tables.

detector = SynchronyDetector(CCA(n_components=2, reg=1e-2), max_lag=40)
detector.fit(stimulus[late[0]], recording[late[1]])
LagDisplay.from_estimator(detector, stimulus[1200:], recording[1200:]).plot()

# %%
# **What does each channel tell?** An encoding model predicts channels that it has not seen from the
# stimulus, with the frames before: the ridge by folds of whole stretches of time (neighbouring frames are
# no independent test).

context = np.hstack([np.roll(stimulus, lag, axis=0) for lag in range(0, 21, 4)])[20:]
measured = recording[20:]
stretches = np.arange(len(context)) // 200
model = CCACV(n_components=2, cv=GroupKFold(5), scale=True)
model.fit(context[:2000], measured[:2000], groups=stretches[:2000])
held_out = column_correlations(model.predict(context[2000:]), measured[2000:])
figure, ax = plt.subplots(figsize=(6.4, 3))
ax.bar(np.arange(30), held_out)
ax.set(xlabel="channel", ylabel="correlation of prediction\nand recording")
plt.show()
