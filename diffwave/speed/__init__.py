"""How fast a model speaks here, and how fast it could at best."""
