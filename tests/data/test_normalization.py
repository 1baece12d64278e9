"""The normalisation on the model's device is the processor's own."""

import pytest
import torch
from tolerance import assert_computed_equal
from toy_checkpoint import toy_processor

from vita_clip_hf.data.normalization import PixelNormalization


@pytest.mark.parametrize("do_rescale", [True, False])
@pytest.mark.parametrize("do_normalize", [True, False])
def test_a_processor_that_leaves_a_step_out_leaves_it_out_here(do_rescale, do_normalize):
    processor = toy_processor().video_processor
    processor.do_rescale, processor.do_normalize = do_rescale, do_normalize
    clip = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = processor([clip], do_sample_frames=False, return_tensors="pt")["pixel_values"][0]
    assert_computed_equal(PixelNormalization.of(processor)(clip), found.float())
