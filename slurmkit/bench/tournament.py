"""Every pair of nodes meets once, in rounds in which no node has two matches."""


def rounds(num_players: int) -> list[list[tuple[int, int]]]:
    """Return the rounds of a round-robin tournament by the circle method.

    One player stays, the others move on by one place after each round. An odd one out has a bye.

    Args:
        num_players: how many there are.

    Returns:
        ``num_players - 1`` rounds, or ``num_players`` when that is odd; each a list of pairs with
        the smaller number first. Fewer than two players give no round.
    """
    if num_players < 2:
        return []
    circle: list[int | None] = [*range(num_players)]
    if num_players % 2:
        circle.append(None)
    schedule = []
    half = len(circle) // 2
    for _ in range(len(circle) - 1):
        matches = zip(circle[:half], reversed(circle[half:]), strict=True)
        schedule.append(
            sorted((min(a, b), max(a, b)) for a, b in matches if a is not None and b is not None)
        )
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return schedule
