"""Look and take: the built-in implementation of `seams.Store`."""
