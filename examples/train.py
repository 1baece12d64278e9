"""
Trains Vita-CLIP on any data set of labelled videos, on one device or on many machines.

    python examples/train.py --train my_videos/train --validation my_videos/val --output_dir my_adapter
    accelerate launch examples/train.py examples/configs/k400_b16_8f.yaml --train k400/train.csv --output_dir k400
    accelerate launch --config_file examples/accelerate/ddp_8.yaml examples/train.py examples/configs/ssv2_b16_8f.yaml

`--help` explains the settings. `vita_clip_hf.training.run.run_training` does the work.
"""

import sys

from vita_clip_hf.training.command import main

if __name__ == "__main__":
    sys.exit(main())
