"""Which requests go through the model together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace

from lalm_bench.types import Generation, Request


def ordered(
    requests: Iterable[Request],
    length: Callable[[Request], float],
    audio: Callable[[Request], Hashable] = lambda request: None,
) -> list[Request]:
    """Requests in the order in which they are asked: like settings, like audio, the longest first.

    Neighbours of similar length waste little padding. The longest come first, so that a batch that
    does not fit into memory shows in the first seconds and not after hours. Requests on the same
    audio stay together, so that it is encoded and read once.

    Parameters
    ----------
    length : callable
        Request -> estimated tokens.
    audio : callable
        Request -> equal for requests on the same audio; None for what hears nothing.
    """
    groups: dict[tuple[Generation, Hashable], list[Request]] = {}
    for request in requests:
        heard = audio(request)
        # Without audio a request is a group of its own.
        name = (setting(request.generation), id(request) if heard is None else heard)
        groups.setdefault(name, []).append(request)

    def rank(request: Request) -> tuple[float, str, str, str]:
        return -length(request), request.key, request.sample_id, request.variant

    for members in groups.values():
        members.sort(key=rank)
    # By settings, and then by the longest member.
    order = sorted(groups, key=lambda name: (repr(name[0]), rank(groups[name][0])))
    return [request for name in order for request in groups[name]]


def setting(generation: Generation) -> Generation:
    """What the rows of one batch must agree on: everything but the seed."""
    return replace(generation, seed=None)
