"""Messages between the agent's side channel and a serving session in a worker.

Every frame is one msgpack struct: its number, the number up to which its sender has everything from
the other end, and what it carries. Numbers make the link survive a reconnect (see `channel.py`);
frame 0 is a heartbeat and is never repeated. ``seq`` numbers the calls of one session.
"""

from __future__ import annotations

from typing import Any

import msgspec

from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.messages import Codec, ErrorInfo, Event, FunctionBody

#: Version of these messages; a session of another version is turned away.
SESSION_VERSION = 3


class Arguments(msgspec.Struct, frozen=True):
    """What a session is started with: where to dial, as whom, and its limits (bytes, seconds)."""

    sid: str
    #: addresses to try, e.g. ``tcp://10.0.0.1:54001``; the first that answers is kept
    addresses: list[str]
    #: shown in the hello; the only credential where there is no encryption
    token: str
    #: directory for results too large for a message
    objects: str
    #: file in which a dying interpreter leaves its last words
    last_words: str
    result_limit: int
    #: where the user's code runs, the home directory if empty; its umask
    working_directory: str = ""
    umask: int = 0o022
    #: directory of the environments that calls may have built, empty if they may not; how many are kept
    environments: str = ""
    environments_kept: int = 5
    #: CURVE keys (Z85): the agent's public one, the session's own pair; empty without encryption
    server_key: str = ""
    public_key: str = ""
    secret_key: str = ""
    #: tell the environment that the calls find, and again when it changes
    survey: bool = False
    #: end when the agent was not heard for this long
    agent_gone_s: float = 45.0


# --- from the agent ---------------------------------------------------------------------------------


class Learn(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A function that later calls will name."""

    function: FunctionBody


class Run(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Run this call after those before it. ``confirm``: say `Starting` and wait for `Go`.

    ``session`` is the named session it belongs to; ``lost`` tells how the last one of that name ended.
    """

    seq: int
    task_id: str
    function_id: str
    payload: bytes = b""
    path: str = ""
    walltime_s: float | None = None
    confirm: bool = False
    session: str = ""
    lost: str = ""
    #: as in `TaskOptions`
    requires: list[str] = []


class Go(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Enter the user's function of this call now."""

    seq: int


class Recall(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Hand back every call that has not begun."""


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Cancel this call."""

    seq: int


class Close(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Finish what you have and end."""


class EndNamed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Forget the named session ``name`` and what lives in it."""

    name: str


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Say which calls you hold; ``seq`` is the last one that was sent."""

    seq: int


DownItem = Learn | Run | Go | Recall | Stop | Close | EndNamed | Ask


# --- from the session -------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Who is there; repeated in every heartbeat."""

    version: int
    token: str
    worker: dict[str, Any] = {}


class Starting(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """About to enter the user's function; waits for `Go`."""

    seq: int


class Started(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """In the user's function for a while (``time``: Unix seconds when it was entered)."""

    seq: int
    time: float


class Output(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Events ``first``, ``first + 1``, ... of the running call."""

    seq: int
    first: int
    events: list[Event]


class Done(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The call ended after ``seconds``; ``path`` holds a payload too large for a message."""

    seq: int
    ok: bool
    payload: bytes
    error: ErrorInfo | None
    #: Unix seconds
    started: float
    ended: float
    #: how long the worker was busy with it
    seconds: float
    first: int = 0
    events: list[Event] = []
    path: str = ""
    #: of a call in a named session: its ``name``, whether it ``is_new``, and the ``names`` in it
    session: dict[str, Any] = {}
    #: whether the call has ended that session
    is_session_over: bool = False


class Returned(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """These calls never began and will not."""

    seqs: list[int]


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to `Ask`: the calls that have not ended, ``seq`` as asked."""

    seq: int
    held: list[int]


class Surveyed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The environment that calls find here."""

    environment: Environment


class Bye(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The session ends now."""

    reason: str


UpItem = Hello | Starting | Started | Output | Done | Returned | Answer | Surveyed | Bye


class Down(msgspec.Struct, frozen=True, array_like=True):
    """A frame from the agent."""

    number: int
    have: int
    items: list[DownItem]


class Up(msgspec.Struct, frozen=True, array_like=True):
    """A frame from a session."""

    number: int
    have: int
    items: list[UpItem]
    #: set in frame 0 only; and bytes of memory in use
    sid: str = ""
    memory: int = 0


#: Decodes what the agent sends.
down_codec: Codec[Down] = Codec(Down)
#: Decodes what a session sends.
up_codec: Codec[Up] = Codec(Up)
