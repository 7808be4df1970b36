"""The pages of models: list, comparison, one version, its search."""
