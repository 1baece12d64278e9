"""What a person needs to run a published Vita-CLIP checkpoint; these files are uploaded beside it."""
