"""The KKT conditions of the max-margin problem."""
