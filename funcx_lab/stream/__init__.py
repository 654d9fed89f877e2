"""The stream: one background thread per process and hub service that submits tasks and hears outcomes.

`Stream` is what callers see, `loop` its thread, `state` the decisions, `journal` what survives a kill of
the process; `websocket` and `poll` are the two ways to the service.
"""

from funcx_lab.stream.stream import ANSWER_TIMEOUT_S, Stream
from funcx_lab.stream.streams import close_streams, open_stream

__all__ = ["ANSWER_TIMEOUT_S", "Stream", "close_streams", "open_stream"]
