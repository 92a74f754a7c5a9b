"""Killing the app again and again, and counting what is left of the promises."""
