"""A small shop-like application with work for every lane; ``python -m examples.demo`` serves it."""
