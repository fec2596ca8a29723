"""How to draw: a small renderer, light, textures, letters, a camera."""
