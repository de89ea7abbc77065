"""H.264 pictures that no other picture is predicted from, told without decoding.

The first byte of a unit states its kind and whether pictures may be predicted from it
(``nal_ref_idc``). A picture all of whose slices say no can be kept from the decoder: every other
picture comes out the same, bit by bit. Other codecs either say so less strictly (HEVC: within one
temporal layer) or mix shown and hidden frames, so nothing is left out of them.

Source: ITU-T H.264, 7.3.1 and 7.4.1 (units), ISO/IEC 14496-15, 5.3.3 (units in MP4 and Matroska).
"""

from __future__ import annotations

from av.video.codeccontext import VideoCodecContext

_CONFIGURATION_VERSION = 1
_KIND = 0x1F
_FREE_SLICE = 0x01  # the byte of a slice of a plain picture from which nothing is predicted
_NO_PICTURE = frozenset({6, 9, 12})  # supplemental information, delimiter, filler


def unit_length_bytes(context: VideoCodecContext) -> int | None:
    """Bytes of the length before every unit; ``None`` if the stream is of another kind."""
    header = context.extradata or b""
    is_h264 = context.codec.canonical_name == "h264"
    if not is_h264 or len(header) < 5 or header[0] != _CONFIGURATION_VERSION:
        return None
    return (header[4] & 3) + 1


def is_disposable(packet: memoryview, length_bytes: int) -> bool:
    """Whether a packet holds a picture, and nothing that another one may need.

    Args:
        packet: its bytes.
        length_bytes: as ``unit_length_bytes`` gives it.

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
            return False  # damaged: the decoder is to see it
        if packet[unit] == _FREE_SLICE:
            has_picture = True
        elif packet[unit] & _KIND not in _NO_PICTURE:
            return False
    return has_picture
