"""Toys in the plane, and the image data sets."""
