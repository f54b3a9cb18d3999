"""A hyperparameter study of transfer learning for garment photos."""

__version__ = "0.1.0"
