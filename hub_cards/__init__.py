"""What is published beside weights. The templates are data of the package, installed as `vita_clip_hf.hub_cards`."""
