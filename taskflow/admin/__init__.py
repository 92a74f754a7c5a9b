"""The edge towards FastAPI: lifespan, routes, who may open them."""
