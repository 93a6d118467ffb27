"""Where arguments are checked: arrays, parameters, views of several modalities, and warnings about them."""
