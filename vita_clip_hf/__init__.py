"""Vita-CLIP for the Hugging Face ecosystem."""
