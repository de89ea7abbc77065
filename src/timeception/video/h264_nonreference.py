"""Find H.264 pictures that no other picture is predicted from, without decoding.

The first byte of a NAL unit states its type and whether pictures may be predicted from it
(``nal_ref_idc``). If this is 0 in all slices of a picture, the decoder can skip it: every other
picture is bit-identical. Other codecs guarantee less (HEVC: within one temporal layer) or mix shown
and hidden frames, so all of their pictures are decoded.

Source: ITU-T H.264, 7.3.1 and 7.4.1 (units), ISO/IEC 14496-15, 5.3.3 (units in MP4 and Matroska).
"""

from __future__ import annotations

from av.video.codeccontext import VideoCodecContext

_CONFIGURATION_VERSION = 1
_KIND = 0x1F
_FREE_SLICE = 0x01  # first byte of a slice (type 1) with nal_ref_idc 0
_NO_PICTURE = frozenset({6, 9, 12})  # unit types SEI, delimiter, filler


def unit_length_bytes(context: VideoCodecContext) -> int | None:
    """Size of the length field before every unit; ``None`` if the stream has another format."""
    header = context.extradata or b""
    is_h264 = context.codec.canonical_name == "h264"
    if not is_h264 or len(header) < 5 or header[0] != _CONFIGURATION_VERSION:
        return None
    return (header[4] & 3) + 1


def is_disposable(packet: memoryview, length_bytes: int) -> bool:
    """Whether a packet contains a picture and nothing that other pictures may depend on.

    ``length_bytes`` is the result of ``unit_length_bytes``.

    Example:
        >>> is_disposable(memoryview(bytes([0, 2, 0x01, 7])), 2)
        True
        >>> is_disposable(memoryview(bytes([0, 2, 0x41, 7])), 2)  # others are predicted from it
        False
    """
    place, has_picture = 0, False
    while place < len(packet):
        unit = place + length_bytes
        length = int.from_bytes(packet[place:unit], "big")
        place = unit + length
        if length == 0 or place > len(packet):
            return False  # damaged: leave it to the decoder
        if packet[unit] == _FREE_SLICE:
            has_picture = True
        elif packet[unit] & _KIND not in _NO_PICTURE:
            return False
    return has_picture
