"""Paragraphs that the docstrings of the deep estimators share."""

from fastcca._docstrings import with_paragraphs
from fastcca.embedding._docs import PARAGRAPHS as OF_EMBEDDINGS

__all__ = ["PARAGRAPHS", "documented"]

PARAGRAPHS = {
    **OF_EMBEDDINGS,
    # ---- parameters
    "device": """
        device : str, default="cpu"
            Any device of PyTorch.
        """,
    "dtype_and_autocast": """
        dtype : {"float32", "float64"}, default="float32"
            Of the network.
        autocast : {None, "bfloat16", "float16"}, default=None
            Run the network in this precision while training, where its device is faster in it;
            the loss is computed in float32. float16 overflows above 65504, and its gradients are scaled
            (``torch.amp.GradScaler``): a batch whose gradients overflow leaves the weights as they are.
        """,
    "schedule_or_callable": """
        schedule : {"cosine", "constant"} or callable, default="cosine"
            The learning rate after the warm-up: cosine annealing to 0, or constant. A callable is given the
            optimiser and returns a scheduler of ``torch.optim.lr_scheduler``, which steps after each batch.
        """,
    # ---- parameters of ``fit``
    "groups": """
        groups : array_like of shape (n,), optional
            Labels of what rows belong to: a speaker, a patient. The rows set aside are those of whole groups,
            so that no group is on both sides: some ``validation_fraction`` of the rows, the smallest group at
            least.
        """,
    "checkpoint": """
        checkpoint : path, optional
            File in which the training is saved after each epoch: networks, optimiser, schedule, generators of
            random numbers, history. Where it holds a training of the same fit, that is gone on with: a fit
            that was killed and is called again ends, on the CPU, with the same bits as one that was not. A
            file of another fit is refused. It needs an integer ``random_state``; generators of your own, of
            ``augment`` say, are not saved.
        """,
    # ---- notes
    "interrupting": """
        Interrupting the first fit (KeyboardInterrupt) leaves an estimator that is fitted with the best epoch
        so far; the interrupt is raised again. A later fit that is interrupted, or fails, leaves it as it was.
        """,
    "best_epoch_": """
        best_epoch_ : int
            The epoch whose parameters are kept; 0 if training ended before the first was complete.
        """,
}

documented = with_paragraphs(PARAGRAPHS)
