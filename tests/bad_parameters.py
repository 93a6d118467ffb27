"""Values that every deep estimator refuses, and the message of each."""

BAD_PARAMETERS = [
    ({"n_threads": 0}, "n_threads must be an integer >= 1 or None, got 0"),
    ({"n_threads": -1}, "n_threads must be an integer"),
    ({"n_threads": "x"}, "n_threads must be an integer"),
    ({"n_threads": float("nan")}, "n_threads must be an integer"),
    ({"device": "zz"}, "device must be one that PyTorch has here, got 'zz'"),
    ({"device": -1}, "device must be one that PyTorch has here"),
    ({"device": None}, "device must be one that PyTorch has here, got None"),
    ({"device": "cuda:99"}, "device must be one that PyTorch has here"),
    ({"learning_rate": "x"}, "learning_rate must be a finite number > 0, got 'x'"),
    ({"dropout": None}, "dropout must be a finite number >= 0 and < 1, got None"),
    ({"input_noise": "x"}, "input_noise must be a finite number >= 0"),
    ({"weight_decay": [1]}, "weight_decay must be a finite number >= 0"),
    ({"validation_fraction": "x"}, "validation_fraction must be a finite number >= 0 and < 1"),
    ({"autocast": "float8"}, "autocast must be one of None, 'bfloat16', 'float16', got 'float8'"),
    ({"callbacks": 3}, "callbacks must be a sequence of callables, got 3"),
    ({"callbacks": (3,)}, "callbacks must be a sequence of callables"),
]
