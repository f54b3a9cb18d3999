"""How the drawn garments look: outlines, the cuts of ten classes, and the scene they lie in."""
