"""Gates: what must be true of a batch, a version or a model run before the next stage may read it."""
