"""A Space around adapters of Vita-CLIP: `VITA_CLIP_MODELS` names them, with spaces between them."""

import os
import sys

from vita_clip_hf.app import launch

models = os.environ.get("VITA_CLIP_MODELS", "").split()
if not models:
    sys.exit("Set VITA_CLIP_MODELS in the Space's settings: an adapter's Hub id, or several of one base.")
launch(models, host=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
