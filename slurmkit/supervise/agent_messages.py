"""Turn what ranks said into events; what a rank says is not trusted to be well-formed."""

from slurmkit.supervise.agent_events import (
    AgentEvent,
    Committed,
    Ending,
    NodeUnfit,
    Phase,
    Quarantined,
    SaveFailed,
    SessionUp,
    TaskGone,
    TaskUp,
)
from slurmkit.supervise.agent_wire import Message

_MAX_TEXT = 2000


def event_of(host: str, message: Message) -> AgentEvent | None:
    """Return the event that a rank's message means; None when it means none that we know.

    Args:
        host: the node of the rank.
        message: what its agent passed on.
    """
    try:
        return _event(host, message)
    except (KeyError, TypeError, ValueError):
        return None


def _event(host: str, message: Message) -> AgentEvent | None:
    match message.get("type"):
        case "task":
            return TaskUp(_number(message.get("rank")), host, int(message["pid"]))
        case "gone":
            return TaskGone(_number(message.get("rank")), host, int(message["pid"]))
        case "unfit":
            return NodeUnfit(host, _text(message.get("why")))
        case "session":
            rank, pid = int(message["rank"]), int(message["pid"])
            return SessionUp(rank, host, pid, _number(message.get("restored")))
        case "phase":
            step = _number(message.get("step"))
            return Phase(_text(message["phase"]), int(message["rank"]), host, step)
        case "committed":
            return Committed(
                step=int(message["step"]),
                size_bytes=int(message.get("size_bytes") or 0),
                save_s=float(message.get("save_s") or 0.0),
                stall_s=float(message.get("stall_s") or 0.0),
                rank=int(message["rank"]),
                host=host,
            )
        case "save_failed":
            step, error = int(message["step"]), _text(message.get("error"))
            return SaveFailed(step, error, int(message["rank"]), host)
        case "quarantined":
            step, why = int(message["step"]), _text(message.get("why"))
            return Quarantined(step, why, int(message["rank"]), host)
        case "ending":
            step_or_none, why = _number(message.get("step")), _text(message.get("why"))
            return Ending(int(message["rank"]), host, step_or_none, why)
    return None


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float, str)) else None


def _text(value: object) -> str:
    return "" if value is None else str(value)[:_MAX_TEXT]
