"""Segmentation of an image into regions of similar color: a mixture over its pixels."""

from fastgmm.segmentation.segmented_image import Segmentation, segment_image

__all__ = ["Segmentation", "segment_image"]
