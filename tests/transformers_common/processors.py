"""Processors of transformers and of Vita-CLIP in transformers' common tests of processors; `run.py` runs this file."""

import unittest
from typing import Any

from toy_vita_clip import toy_tokenizer
from transformers import CLIPImageProcessor, CLIPProcessor, VJEPA2VideoProcessor
from transformers_tests.test_processing_common import ProcessorTesterMixin
from transformers_tests.test_video_processing_common import VideoProcessingTestMixin, prepare_video_inputs

from vita_clip_hf import VitaClipProcessor, VitaClipVideoProcessor

SIZES = {"size": {"shortest_edge": 20}, "crop_size": {"height": 18, "width": 18}}
NUM_FRAMES = 8


class Videos:
    """What the common tests ask of a video processor: settings and videos."""

    batch_size, num_channels, min_resolution, max_resolution = 5, 3, 30, 80

    def __init__(self) -> None:
        self.num_frames = NUM_FRAMES

    def expected_output_video_shape(self, videos: Any) -> list[int]:
        return [self.num_frames, self.num_channels, 18, 18]

    def prepare_video_inputs(self, equal_resolution: bool = False, return_tensors: str = "pil") -> Any:
        sizes = (self.batch_size, self.num_frames, self.num_channels, self.min_resolution, self.max_resolution)
        return prepare_video_inputs(*sizes, equal_resolution=equal_resolution, return_tensors=return_tensors)


class VJEPA2VideoProcessorTest(VideoProcessingTestMixin, unittest.TestCase):
    fast_video_processing_class: type = VJEPA2VideoProcessor
    video_processor_dict: Any = {"do_resize": True, "do_center_crop": True, **SIZES}  # noqa: RUF012
    test_cast_dtype = True

    def setUp(self) -> None:
        super().setUp()
        self.video_processor_tester = Videos()


class VitaClipVideoProcessorTest(VJEPA2VideoProcessorTest):
    fast_video_processing_class = VitaClipVideoProcessor
    video_processor_dict: Any = {**SIZES, "num_frames": NUM_FRAMES}  # noqa: RUF012
    input_name = "pixel_values"


class CLIPProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = CLIPProcessor

    @classmethod
    def _setup_tokenizer(cls) -> Any:
        return toy_tokenizer()

    @classmethod
    def _setup_image_processor(cls) -> Any:
        return CLIPImageProcessor(**SIZES)


class VitaClipProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = VitaClipProcessor
    videos_input_name = "pixel_values"

    @classmethod
    def _setup_tokenizer(cls) -> Any:
        return toy_tokenizer()

    @classmethod
    def _setup_video_processor(cls) -> Any:
        return VitaClipVideoProcessor(**SIZES, num_frames=NUM_FRAMES)
