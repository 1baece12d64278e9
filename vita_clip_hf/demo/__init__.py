"""Motion Shapes: the whole story offline, on generated videos and a tiny CLIP."""
