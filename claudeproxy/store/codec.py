"""How bytes are compressed in the database: a codec number beside each blob says how to read it back.

Apart because blocks and bodies share it, and because `zstandard` is imported only when something is compressed or read:
commands that list captures never need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.errors import CorruptBodyError

if TYPE_CHECKING:
    import zstandard

RAW = 0
ZSTD_SHAPES = 1  # zstandard with the dictionary below

_LEVEL = 6  # a twentieth less than 3, for 20 ms a megabyte; more gives hardly anything
_WORTH_A_FRAME = 16  # bytes; a frame's own header takes 6 to 9

# What every Messages API body is made of, as a raw-content dictionary: small blocks and event streams hold little else.
# Stored data depends on these bytes: never edit them, add a codec instead. The likeliest text stands last.
_SHAPES = (
    b'"diagnostics":{"previous_message_id":"msg_01"},{"type":"text","text":"x-anthropic-billing-header: '
    b"cc_version=2.1.330.000; cc_entrypoint=sdk-cli; cch=00000; cc_is_subagent=true; cc_prev_req=req_011; "
    b"cc_prompt_id=; cc_turn_origin=human; cc_prompt_index=0; cc_turn_index=1; cc_prev_msg=msg_01; "
    b'cc_prev_prompt_index=0; cc_prev_turn_index=0;"}'
    b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_011"}'
    b'{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo'
    b'{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"path":{"type":"string",'
    b'"description":"The "},"limit":{"type":"number"},"flag":{"type":"boolean"},"items":{"type":"array","items":{'
    b'"type":"string"}},"enum":["'
    b'"]},"required":["'
    b'"],"additionalProperties":false}},"input_schema":{"type":"object","properties":{"description":"'
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant",'
    b'"model":"claude-","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":4,'
    b'"cache_creation_input_tokens":1,"cache_read_input_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":1,'
    b'"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"thinking",'
    b'"thinking":"","signature":""}}\n\nevent: ping\ndata: {"type": "ping"}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta",'
    b'"thinking":""}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{'
    b'"type":"signature_delta","signature":""}}\n\nevent: content_block_stop\ndata: {"type":"content_block_stop",'
    b'"index":0}\n\nevent: content_block_start\ndata: {"type":"content_block_start","index":1,"content_block":{'
    b'"type":"tool_use","id":"toolu_01","name":"","input":{}}}\n\nevent: content_block_delta\ndata: {'
    b'"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"'
    b'"}}\n\nevent: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text",'
    b'"text":""}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{'
    b'"type":"text_delta","text":" "}}\n\nevent: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":12}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
    b'{"type":"thinking","thinking":"","signature":"'
    b'{"type":"tool_use","id":"toolu_01","name":"Bash","input":{"command":"","description":"'
    b'{"type":"tool_use","id":"toolu_01","name":"Read","input":{"file_path":"/'
    b'{"tool_use_id":"toolu_01","type":"tool_result","content":"'
    b'","is_error":false}'
    b'{"type":"tool_result","tool_use_id":"toolu_01","content":[{"type":"text","text":"'
    b'"}]}{"type":"text","text":"'
)


class Codec:
    """Compresses and reads back. Keeps its zstandard contexts, which must not be used by two threads at once."""

    def __init__(self) -> None:
        self._compressor: zstandard.ZstdCompressor | None = None
        self._decompressor: zstandard.ZstdDecompressor | None = None

    def compress(self, data: bytes) -> tuple[int, bytes]:
        """Return codec and stored form: compressed only when that is shorter, and only when it reads back equal."""
        if len(data) < _WORTH_A_FRAME:
            return RAW, data
        if self._compressor is None:
            import zstandard

            self._compressor = zstandard.ZstdCompressor(
                level=_LEVEL, dict_data=_shapes(), write_checksum=False, write_dict_id=False
            )
        packed = self._compressor.compress(data)
        if len(packed) >= len(data) or self.decompress(ZSTD_SHAPES, packed) != data:
            return RAW, data
        return ZSTD_SHAPES, packed

    def decompress(self, codec: int, data: bytes) -> bytes:
        """Read a stored form back.

        :raises CorruptBodyError: when the bytes are damaged, or the codec is of a newer version.
        """
        if codec == RAW:
            return data
        if codec != ZSTD_SHAPES:
            raise CorruptBodyError(f"a stored body uses codec {codec}, which this version does not know")
        import zstandard

        if self._decompressor is None:
            self._decompressor = zstandard.ZstdDecompressor(dict_data=_shapes())
        try:
            return self._decompressor.decompress(data)
        except zstandard.ZstdError as error:
            raise CorruptBodyError(f"a stored body cannot be decompressed: {error}") from None


def _shapes() -> zstandard.ZstdCompressionDict:
    import zstandard

    return zstandard.ZstdCompressionDict(_SHAPES, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
