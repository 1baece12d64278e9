"""Fingerprints of models."""

import torch
from toy_checkpoint import save_toy_checkpoint

from vita_clip_hf.models import load_model
from vita_clip_hf.models.fingerprint import model_fingerprint


def test_fingerprints_tell_prompts_precisions_and_configurations_apart(tmp_path):
    adapter = save_toy_checkpoint(tmp_path)
    model, _ = load_model(adapter)
    same, _ = load_model(adapter)
    assert model_fingerprint(model) == model_fingerprint(same)
    found = {model_fingerprint(model), model_fingerprint(load_model(adapter, dtype=torch.bfloat16)[0])}
    with torch.no_grad():
        same.model.vision_model.embeddings.temporal_embedding[0, 0] += 1e-3
    found.add(model_fingerprint(same))
    model.model.config.vision_config.hidden_act = "gelu"
    found.add(model_fingerprint(model))
    assert len(found) == 4
