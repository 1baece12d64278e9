"""The model outside of Python: `torch.export`, and ONNX run by onnxruntime."""

from pathlib import Path

import pytest
import torch
from tolerance import assert_computed_equal
from torch import nn
from toy_vita_clip import toy_clips, toy_model

from vita_clip_hf import VitaClipModel

ANY_BATCH = {"pixel_values": {0: torch.export.Dim("batch", min=1, max=64)}}


class VideoTower(nn.Module):
    """Clips to video embeddings."""

    def __init__(self, model: VitaClipModel):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model.get_video_features(pixel_values).pooler_output


class FixedLabels(VideoTower):
    """Clips to logits of the model's classes, whose features are held: the text tower stays behind."""

    def __init__(self, model: VitaClipModel):
        super().__init__(model)
        model.hold_class_features()

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values).logits_per_video


class OwnClasses(VideoTower):
    """Clips to logits of the model's classes, text tower and all."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values).logits_per_video


@pytest.fixture(params=[VideoTower, FixedLabels])
def network(request) -> nn.Module:
    return request.param(toy_model().eval())


@torch.no_grad()
def test_an_exported_program_takes_any_batch(network):
    program = torch.export.export(network, (toy_clips(2),), dynamic_shapes=ANY_BATCH).module()
    for batch in (1, 3):
        assert_computed_equal(program(toy_clips(batch)), network(toy_clips(batch)))


@torch.no_grad()
def test_an_exported_program_encodes_its_own_classes():
    network = OwnClasses(toy_model()).eval()
    program = torch.export.export(network, (toy_clips(2),), dynamic_shapes=ANY_BATCH).module()
    assert_computed_equal(program(toy_clips(3)), network(toy_clips(3)))


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace:FutureWarning")
def test_a_traced_program_encodes_its_own_classes():
    network = OwnClasses(toy_model()).eval()
    program = torch.jit.trace(network, toy_clips())
    assert_computed_equal(program(toy_clips(seed=1)), network(toy_clips(seed=1)))
    assert any("token_embedding" in node.scopeName() for node in program.inlined_graph.nodes())


@torch.no_grad()
def test_onnxruntime_gives_the_same(network, tmp_path: Path):
    pytest.importorskip("onnxscript", reason="torch exports to ONNX by it")
    onnxruntime = pytest.importorskip("onnxruntime", reason="it runs what was exported")
    torch.onnx.export(
        network, (toy_clips(2),), tmp_path / "model.onnx", dynamo=True, dynamic_shapes=ANY_BATCH, verbose=False
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    [pixel_values] = session.get_inputs()
    for batch in (1, 3):
        [found] = session.run(None, {pixel_values.name: toy_clips(batch).numpy()})
        torch.testing.assert_close(torch.from_numpy(found), network(toy_clips(batch)), atol=1e-4, rtol=0)
