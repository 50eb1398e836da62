"""How a PC of a cast fares: a sentence in the store for the operator, one word of a short list for watchers."""

from __future__ import annotations

from appliance.model import CastMember

COMPLETE = "complete"
LEFT = "has left"
BY_NFS = "by NFS: "  # and why
SILENT = "silent"
WAITS = "waits for more PCs"
SLOW = "by multicast, slower than the others"
BY_MULTICAST = "by multicast"

# Word -> how the sentence begins; the first that fits counts.
_WORDS = {
    "complete": COMPLETE,
    "left": LEFT,
    "nfs": BY_NFS,
    "silent": SILENT,
    "waiting": WAITS,
    "slow": SLOW,
    "multicast": BY_MULTICAST,
    "absent": "",  # it has not been heard yet
}
WORDS = (*_WORDS, "ended")


def word_of(member: CastMember) -> str:
    """One of `WORDS`. `ended`: its task has, whatever was heard last."""
    if member.task_state.is_final:
        return "ended"
    return next(word for word, begins in _WORDS.items() if member.status.startswith(begins))
